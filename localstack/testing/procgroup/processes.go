package procgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// childrenOf lists the processes whose parent is pid, from /proc or, on systems without it, from
// ps.
func childrenOf(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return childrenByPS(pid)
	}
	var children []int
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended meanwhile
		}
		if child, parent, err := parseStat(content); err == nil && parent == pid {
			children = append(children, child)
		}
	}
	return children, nil
}

// parseStat reads pid and parent from "pid (name) state parent …". The name can contain spaces and
// parentheses. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func parseStat(content []byte) (pid, parent int, err error) {
	end := bytes.LastIndexByte(content, ')')
	fields := strings.Fields(string(content[end+1:]))
	if end < 0 || len(fields) < 2 {
		return 0, 0, fmt.Errorf("parse process status %q", content)
	}
	first, _, _ := strings.Cut(string(content), " ")
	pid, pidErr := strconv.Atoi(first)
	parent, parentErr := strconv.Atoi(fields[1])
	return pid, parent, errors.Join(pidErr, parentErr)
}

func childrenByPS(pid int) ([]int, error) {
	output, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var children []int
	for line := range strings.Lines(string(output)) {
		var child, parent int
		if _, err := fmt.Sscan(line, &child, &parent); err == nil && parent == pid {
			children = append(children, child)
		}
	}
	return children, nil
}
