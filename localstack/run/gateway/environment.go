package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// environment is one Lambda execution environment: a bootstrap process, which is restarted when it
// ends, and the Runtime API from which it requests work. It runs one invocation at a time.
type environment struct {
	function  function
	bootstrap string
	env       map[string]string
	log       *namedLog

	ready        chan error       // the first process requested work, or ended before that
	handed       chan *invocation // invocations for the process that requests work
	initFailures chan error       // errors for an invocation that waits for a process

	mu        sync.Mutex
	current   *invocation        // the invocation that the process works on
	kill      context.CancelFunc // nil while no process runs
	asked     bool               // the running process has requested work
	initError string             // the error that the running process reported instead
	printed   *tail              // the end of its output
}

// invocation is one event that a function processes.
type invocation struct {
	id, traceID string
	payload     []byte
	outcome     chan outcome // of capacity 1, because the receiver may have given up
	timeout     *time.Timer
}

type outcome struct {
	payload []byte
	err     error
}

const (
	restartPause    = 100 * time.Millisecond
	maxRestartPause = 5 * time.Second
	// killDelay bounds the wait for the output of a killed process.
	killDelay = time.Second
)

func newEnvironment(f function, bootstrap string, env map[string]string, log *namedLog) *environment {
	all := maps.Clone(f.env)
	maps.Copy(all, env)
	return &environment{
		function: f, bootstrap: bootstrap, env: all, log: log,
		ready: make(chan error, 1), handed: make(chan *invocation), initFailures: make(chan error), printed: &tail{},
	}
}

// run restarts the process and serves its Runtime API until ctx is done.
func (e *environment) run(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the runtime of %s: %w", e.function.name, err)
	}
	server := newServer(e.runtimeAPI())
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error {
		_ = server.Serve(listener) // ends when the server is closed
		return nil
	})
	running.Go(func() error {
		e.keepRunning(ctx, listener.Addr().String())
		return server.Close()
	})
	return running.Wait()
}

func (e *environment) keepRunning(ctx context.Context, runtimeAPI string) {
	pause := restartPause
	for {
		err := e.runProcess(ctx, runtimeAPI)
		if ctx.Err() != nil {
			return
		}
		e.log.printf("the process ended: %v; restarting it", err)
		if e.processEnded(err) {
			pause = restartPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, maxRestartPause)
		}
	}
}

// runProcess starts the process and returns when it has ended.
func (e *environment) runProcess(ctx context.Context, runtimeAPI string) error {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	path, err := filepath.Abs(e.bootstrap)
	if err != nil {
		return fmt.Errorf("find %s: %w", e.bootstrap, err)
	}
	process := exec.CommandContext(ctx, path)
	process.Dir = filepath.Dir(path)
	printed := &tail{}
	output := io.MultiWriter(e.log, printed)
	process.Stdout, process.Stderr = output, output
	process.WaitDelay = killDelay
	// Ctrl-C goes to the whole process group. Without an own group, the requests in flight would
	// lose their functions.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	env := lambdaEnv(e.function, runtimeAPI, process.Dir)
	maps.Copy(env, e.env)
	for name, value := range env {
		process.Env = append(process.Env, name+"="+value)
	}

	e.mu.Lock()
	e.kill, e.asked, e.initError, e.printed = kill, false, "", printed
	e.mu.Unlock()
	if err := process.Run(); err != nil {
		return err
	}
	return errors.New("exit status 0")
}

// processEnded fails the invocation that the process worked on. It reports whether the process ever
// requested work.
func (e *environment) processEnded(reason error) (asked bool) {
	e.mu.Lock()
	current, asked, initError := e.current, e.asked, cmp.Or(e.initError, e.printed.String())
	e.kill = nil
	e.mu.Unlock()
	if current != nil {
		e.finish(current, outcome{err: fmt.Errorf("the process ended: %w", reason)})
	}
	if asked {
		return true
	}
	if initError != "" {
		reason = fmt.Errorf("%w: %s", reason, initError)
	}
	reason = fmt.Errorf("the process ended before it requested work: %w", reason)
	select {
	case e.ready <- reason:
	default:
	}
	select {
	case e.initFailures <- reason:
	default:
	}
	return false
}

// invoke passes the invocation to the process and waits for its answer until ctx ends.
func (e *environment) invoke(ctx context.Context, i *invocation) ([]byte, error) {
	select {
	case e.handed <- i:
	case err := <-e.initFailures:
		return nil, err
	case <-ctx.Done():
		return nil, errIntegrationTimeout
	}
	select {
	case o := <-i.outcome:
		return o.payload, o.err
	case <-ctx.Done():
		return nil, errIntegrationTimeout
	}
}

// begin assigns the invocation to the process that requested work and starts its timeout. It
// returns false if the process has ended since.
func (e *environment) begin(i *invocation) (deadline time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kill == nil {
		i.outcome <- outcome{err: errors.New("the process ended before it received the event")}
		return time.Time{}, false
	}
	e.current = i
	kill := e.kill
	i.timeout = time.AfterFunc(e.function.timeout, func() {
		if e.finish(i, outcome{err: fmt.Errorf("task timed out after %s", e.function.timeout)}) {
			kill()
		}
	})
	return time.Now().Add(e.function.timeout), true
}

// finish ends the invocation if the process still works on it.
func (e *environment) finish(i *invocation, o outcome) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i == nil || e.current != i {
		return false
	}
	i.timeout.Stop()
	i.outcome <- o
	e.current = nil
	return true
}

// find returns the invocation that the process works on, if id is its id.
func (e *environment) find(id string) *invocation {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil || e.current.id != id {
		return nil
	}
	return e.current
}
