package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

var errNoLimit = errors.New("this machine allows no limit of the processor time of a process")

// limit limits the process to a quarter of a core with a Linux control group, and returns how to
// remove the group. It fails without the permission for that.
// https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
func limit(pid int) (remove func(), err error) {
	const root = "/sys/fs/cgroup"
	for _, kind := range []struct{ dir, file, value string }{
		{root, "cpu.max", "25000 100000"},
		{filepath.Join(root, "cpu"), "cpu.cfs_quota_us", "25000"}, // in a period of 100,000
	} {
		dir := filepath.Join(kind.dir, fmt.Sprintf("outbox-relay-bench-%d", pid))
		remove = func() { _ = syscall.Rmdir(dir) }
		if err = os.Mkdir(dir, 0o755); err == nil {
			err = errors.Join(set(dir, kind.file, kind.value), set(dir, "cgroup.procs", strconv.Itoa(pid)))
		}
		if err == nil {
			return remove, nil
		}
		remove()
	}
	return nil, fmt.Errorf("%w: %w", errNoLimit, err)
}

// set writes a file that exists, because a control group has all of its files.
func set(dir, name, value string) error {
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	return errors.Join(err, file.Close())
}
