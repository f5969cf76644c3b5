package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has taken of the machine.
type usage struct {
	processor time.Duration
	peak      int // resident set in bytes, at its highest
}

// usageOf reads /proc: the benchmark's figures of processor and memory are those of Linux.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func usageOf(pid int) (u usage) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Linux runs
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(fields) > 12 {
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		u.processor = time.Duration(user+system) * tick
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	number, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	kilobytes, _ := strconv.Atoi(number)
	u.peak = kilobytes << 10
	return u
}

// ticks are the machine's time since it was started, of all cores, in the unit of /proc/stat, and how much of it the
// hypervisor gave to others. https://man7.org/linux/man-pages/man5/proc_stat.5.html
type ticks struct{ all, stolen int }

// machineTime returns zeros where there is no /proc.
func machineTime() (t ticks) {
	stat, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(stat), "\n")
	const steal, guest = 7, 8 // guest time is part of user time
	for n, field := range strings.Fields(strings.TrimPrefix(line, "cpu")) {
		value, _ := strconv.Atoi(field)
		if n < guest {
			t.all += value
		}
		if n == steal {
			t.stolen = value
		}
	}
	return t
}

// stolenSince returns the part of the time since before that was stolen.
func (t ticks) stolenSince(before ticks) float64 {
	if t.all == before.all {
		return 0
	}
	return float64(t.stolen-before.stolen) / float64(t.all-before.all)
}
