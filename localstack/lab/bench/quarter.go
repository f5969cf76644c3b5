package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

var errNoLimit = errors.New("this machine lets no program give another a part of a core")

// limit gives the process a quarter of a core, by the control groups of Linux, and returns how to remove the group. It fails where
// a program may not do so.
// https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
func limit(pid int) (remove func(), err error) {
	const root = "/sys/fs/cgroup"
	for _, kind := range []struct{ dir, file, value string }{
		{root, "cpu.max", "25000 100000"},
		{filepath.Join(root, "cpu"), "cpu.cfs_quota_us", "25000"}, // of a period of 100,000
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

// set writes a file that is there already: in a control group all are.
func set(dir, name, value string) error {
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	return errors.Join(err, file.Close())
}
