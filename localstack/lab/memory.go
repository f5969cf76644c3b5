package main

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

const (
	// sharedMemory is a file system in memory on Linux. Other systems do not have it.
	sharedMemory = "/dev/shm"
	// clusterBytes is the memory for the clusters of a run. A dozen of them live at once, each with
	// its log of up to 1 GB, which the tests hardly fill.
	clusterBytes = 4 << 30
	// testBytes is the available memory below which the clusters stay on the disk. The relays, the
	// compilers and the servers of the tests need the rest.
	testBytes = clusterBytes + 4<<30
)

// clusterDir returns a new folder in memory for the clusters of the tests, and a function that
// removes it. Each test creates a database of 300 files, which costs a disk more time than most
// tests need. The folder is empty if PGTEST_DIR names another one, or if memory is short: then the
// clusters are on the disk.
func clusterDir() (dir string, remove func(), err error) {
	if os.Getenv("PGTEST_DIR") != "" || freeIn(sharedMemory) < clusterBytes || availableMemory() < testBytes {
		return "", func() {}, nil
	}
	if dir, err = os.MkdirTemp(sharedMemory, "outbox-relay-"); err != nil {
		return "", nil, fmt.Errorf("make a folder for the clusters of the tests: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the server's user enters it
		return "", nil, fmt.Errorf("open the folder for the clusters of the tests: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// freeIn returns the free bytes of a file system, or 0 if it does not exist.
func freeIn(dir string) int64 {
	var system syscall.Statfs_t
	if syscall.Statfs(dir, &system) != nil {
		return 0
	}
	return int64(system.Bavail) * int64(system.Bsize) //nolint:unconvert // other types on other systems
}

// availableMemory returns the bytes that programs can use without swapping, or 0 if the system does
// not say so.
func availableMemory() (available int64) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(info) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(string(line), "MemAvailable: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	return 0
}
