package stack

import (
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

type relayCommand struct {
	path        string
	environment []string
	log         string
}

// relay keeps the relay's process running, like a container platform.
type relay struct {
	command relayCommand
	asked   chan struct{} // closed to stop
	stopped chan error
	ends    atomic.Int32 // exits of the process without a request to stop
}

const (
	restartPause = time.Second
	// hopelessAfter is the number of exits after which a relay that was never ready counts as
	// failed.
	hopelessAfter = 3
	// drainTimeout is the time for the relay to drain and confirm.
	drainTimeout = 30 * time.Second
)

func startRelay(command relayCommand) *relay {
	r := &relay{command: command, asked: make(chan struct{}), stopped: make(chan error, 1)}
	go func() { r.stopped <- r.keepRunning() }()
	return r
}

func (r *relay) stop() error {
	close(r.asked)
	return <-r.stopped
}

// keepRunning returns after stop was called and the process has ended.
func (r *relay) keepRunning() error {
	log, err := createLog(r.command.log)
	if err != nil {
		return fmt.Errorf("open the relay's log: %w", err)
	}
	defer log.Close()
	for {
		process, err := r.start(log)
		if err != nil {
			return err
		}
		select {
		case <-r.asked:
			return process.Stop(syscall.SIGTERM, drainTimeout)
		case <-process.Done():
			r.ends.Add(1)
			fmt.Fprintf(log, "the relay ended (%v) and is started again in %s\n", process.Err(), restartPause)
		}
		if err := process.Stop(syscall.SIGTERM, drainTimeout); err != nil { // the rest of its process group
			return err
		}
		select {
		case <-r.asked:
			return nil
		case <-time.After(restartPause):
		}
	}
}

func (r *relay) start(log *os.File) (*procgroup.Process, error) {
	cmd := exec.Command(r.command.path, "run")
	cmd.Env = r.command.environment
	cmd.Stdout, cmd.Stderr = log, log
	process, err := procgroup.Start(cmd, procgroup.Orphan{})
	if err != nil {
		return nil, fmt.Errorf("start the relay: %w", err)
	}
	return process, nil
}
