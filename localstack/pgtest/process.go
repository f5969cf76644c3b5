package pgtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// watch ends the postmaster $1 when this process is gone: then the pipe of its standard input ends without a line. It
// needs no help of the operating system's own, so it also works where there is no parent-death signal. $2 is a folder to
// remove afterwards, or empty. The number of rounds is bounded, as a machine without an init process keeps zombies.
const watch = `read -r line && exit 0
kill -QUIT "$1"
n=0; while kill -0 "$1" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
[ -z "$2" ] || rm -rf "$2"`

// process is a running postmaster with its watcher.
type process struct {
	cmd     *exec.Cmd
	done    chan struct{} // closed when the postmaster is gone
	err     error         // how it ended; valid after done
	watcher *exec.Cmd
	release io.WriteCloser // the watcher's standard input
}

// startProcess starts the postmaster in a process group of its own, out of reach of the terminal's Ctrl-C, and ends it
// when this process ends. The folder remove, if any, goes with it.
func startProcess(cmd *exec.Cmd, remove string) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = ended(cmd.Wait())
		close(p.done)
	}()
	p.watcher = exec.Command("/bin/sh", "-c", watch, "pgtest-watch", strconv.Itoa(cmd.Process.Pid), remove)
	p.watcher.Dir = "/"
	p.watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	release, err := p.watcher.StdinPipe()
	if err == nil {
		p.release = release
		err = p.watcher.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start watcher: %w", err), p.killTree())
	}
	return p, nil
}

// ended makes an error of a clean exit too, which nobody asked for when somebody reads it.
func ended(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// stop sends the signal, waits, and kills what does not go.
func (p *process) stop(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop postgres: %w", err)
	}
	select {
	case <-p.done:
		return p.dismissWatcher()
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("postgres did not stop within %s and was killed", stopTimeout), p.killTree())
	}
}

// killTree kills the postmaster and its children. The postmaster is frozen first, so that it neither starts another
// child nor writes anything about the death of one.
func (p *process) killTree() error {
	pid := p.cmd.Process.Pid
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); errors.Is(err, os.ErrProcessDone) {
		return p.dismissWatcher()
	}
	children, err := childrenOf(pid)
	for _, victim := range append([]int{pid}, children...) {
		if killErr := syscall.Kill(victim, syscall.SIGKILL); killErr != nil && !errors.Is(killErr, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("kill %d: %w", victim, killErr))
		}
	}
	<-p.done
	return errors.Join(err, p.dismissWatcher())
}

// dismissWatcher sends the watcher the line that it goes away on.
func (p *process) dismissWatcher() error {
	if p.watcher == nil || p.watcher.Process == nil {
		return nil
	}
	_, writeErr := io.WriteString(p.release, "\n")
	err := errors.Join(writeErr, p.release.Close(), p.watcher.Wait())
	p.watcher = nil
	if err != nil {
		return fmt.Errorf("dismiss watcher: %w", err)
	}
	return nil
}

// childrenOf lists the processes whose parent is pid.
func childrenOf(pid int) ([]int, error) {
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
