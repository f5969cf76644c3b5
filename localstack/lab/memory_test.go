package main

import (
	"os"
	"testing"
)

func TestChosenClusterFolderIsKept(t *testing.T) {
	t.Setenv("PGTEST_DIR", t.TempDir())
	if dir, _, err := clusterDir(); dir != "" || err != nil {
		t.Errorf("the clusters are in %q (%v), want PGTEST_DIR", dir, err)
	}
}

func TestClusterFolderInMemoryIsRemoved(t *testing.T) {
	t.Setenv("PGTEST_DIR", "")
	dir, remove, err := clusterDir()
	if err != nil {
		t.Fatal(err)
	}
	enough := freeIn(sharedMemory) >= clusterBytes && availableMemory() >= testBytes
	if (dir != "") != enough {
		t.Errorf("the clusters are in %q, and it is %t that memory is enough", dir, enough)
	}
	remove()
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is left", dir)
	}
}

func TestAbsentFileSystemHasNoRoom(t *testing.T) {
	t.Parallel()
	if n := freeIn("/nowhere"); n != 0 {
		t.Errorf("%d bytes are free", n)
	}
}
