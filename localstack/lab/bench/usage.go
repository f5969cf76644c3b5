package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is the processor time and the memory of a process.
type usage struct {
	processor time.Duration
	peak      int // peak of the resident set in bytes
}

// usageOf reads /proc, so processor and memory are only measured on Linux.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func usageOf(pid int) (u usage) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all common platforms
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

// ticks is the time of all cores since the start of the machine, in the unit of /proc/stat, and the
// part that the hypervisor gave to other machines.
// https://man7.org/linux/man-pages/man5/proc_stat.5.html
type ticks struct{ all, stolen int }

// machineTime returns zeros without /proc.
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

// stolenSince returns the share of stolen time since before.
func (t ticks) stolenSince(before ticks) float64 {
	if t.all == before.all {
		return 0
	}
	return float64(t.stolen-before.stolen) / float64(t.all-before.all)
}
