// Package procgroup runs programs that end when this process ends, even if this process crashes or
// is killed.
package procgroup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// watch ends process $1 with signal $2 when this process is gone, because the pipe of its standard
// input then ends without a line. It needs no parent-death signal, which not every operating system
// has. After ten seconds it kills the process. $3 is a folder to remove afterwards, or empty.
const watch = `read -r line && exit 0
kill -"$2" "$1"
n=0; while kill -0 "$1" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
kill -KILL "$1" 2>/dev/null
[ -z "$3" ] || rm -rf "$3"`

// Orphan describes the end of a child when this process ends without stopping it.
type Orphan struct {
	Signal string // as for kill(1); TERM if empty
	Remove string // a folder to remove with it, if not empty
}

// Process is a running child with its watcher.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // the end of the child; valid after done

	dismiss sync.Once
	watcher *exec.Cmd
	release io.WriteCloser // the watcher's standard input
}

// Start starts cmd in its own process group, out of reach of Ctrl-C.
func Start(cmd *exec.Cmd, orphan Orphan) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = ended(cmd.Wait())
		close(p.done)
	}()
	if err := p.startWatcher(orphan); err != nil {
		p.watcher = nil
		return nil, errors.Join(fmt.Errorf("start watcher: %w", err), p.KillTree())
	}
	return p, nil
}

func (p *Process) startWatcher(orphan Orphan) (err error) {
	signal := orphan.Signal
	if signal == "" {
		signal = "TERM"
	}
	p.watcher = exec.Command("/bin/sh", "-c", watch, "watch", strconv.Itoa(p.Pid()), signal, orphan.Remove)
	p.watcher.Dir = "/"
	p.watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.release, err = p.watcher.StdinPipe(); err != nil {
		return err
	}
	return p.watcher.Start()
}

// ended returns an error for a clean exit too, because Err must never return nil.
func ended(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err blocks until the child has ended and returns a non-nil error that describes the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Stop sends the signal, waits up to timeout, and then kills the child with its children.
func (p *Process) Stop(signal syscall.Signal, timeout time.Duration) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.Pid(), err)
	}
	select {
	case <-p.done:
		return p.dismissWatcher()
	case <-time.After(timeout):
		return errors.Join(fmt.Errorf("process %d did not stop within %s and was killed", p.Pid(), timeout),
			p.KillTree())
	}
}

// KillTree kills the child and its children, like a crash of the machine. It freezes the child
// first, so that the child neither starts another process nor logs the death of one.
func (p *Process) KillTree() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); errors.Is(err, os.ErrProcessDone) {
		return p.dismissWatcher()
	}
	children, err := childrenOf(p.Pid())
	for _, pid := range append([]int{p.Pid()}, children...) {
		if killErr := syscall.Kill(pid, syscall.SIGKILL); killErr != nil && !errors.Is(killErr, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("kill %d: %w", pid, killErr))
		}
	}
	<-p.done
	return errors.Join(err, p.dismissWatcher())
}

// dismissWatcher sends the watcher the line on which it exits.
func (p *Process) dismissWatcher() (err error) {
	if p.watcher == nil {
		return nil
	}
	p.dismiss.Do(func() {
		_, writeErr := io.WriteString(p.release, "\n")
		err = errors.Join(writeErr, p.release.Close(), p.watcher.Wait())
	})
	if err != nil {
		return fmt.Errorf("dismiss watcher: %w", err)
	}
	return nil
}
