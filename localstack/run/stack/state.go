package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// State describes a started stack for the other commands.
type State struct {
	Way        Way               `json:"way"`
	Supervisor int               `json:"supervisor,omitempty"` // process id, for host and embedded
	Ready      bool              `json:"ready"`                // every part was up once
	Started    time.Time         `json:"started"`
	Ports      Ports             `json:"ports"`
	Broker     string            `json:"broker"` // a description for display
	Outputs    messaging.Outputs `json:"outputs"`
}

func (s *Stack) statePath() string { return s.path("stack.json") }

// Load returns the state of the stack, or an error that names the command to start it.
func (s *Stack) Load() (State, error) {
	state, err := s.load()
	if err == nil && (state == nil || !state.Ready) {
		return State{}, s.notUp()
	}
	if err != nil {
		return State{}, err
	}
	return *state, nil
}

// load returns nil if the stack was not started, or has ended without removing its state.
func (s *Stack) load() (*State, error) {
	state, err := s.readState()
	if err == nil && state != nil && state.Way != Compose && !s.supervised() {
		return nil, nil
	}
	return state, err
}

// readState returns the saved state, or nil if there is none.
func (s *Stack) readState() (*State, error) {
	content, err := os.ReadFile(s.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	var state State
	if err := json.Unmarshal(content, &state); err != nil {
		return nil, fmt.Errorf("read state %s: %w; remove the file if it is damaged", s.statePath(), err)
	}
	return &state, nil
}

// save replaces the file atomically, so that no reader sees a partial state.
func (s *Stack) save(state State) error {
	content, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	unfinished := s.statePath() + ".new"
	if err := os.WriteFile(unfinished, append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := os.Rename(unfinished, s.statePath()); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

func (s *Stack) forget() error {
	if err := os.Remove(s.statePath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}

func (s *Stack) forgetEnding() error {
	if err := os.Remove(s.endingPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the reason of the last end: %w", err)
	}
	return nil
}

// supervised reports whether a supervisor runs. It holds a lock until it ends, even if it is
// killed. A process id alone could belong to another process by now.
func (s *Stack) supervised() bool {
	unlock, err := s.tryLock("supervisor.lock")
	if err != nil {
		return errors.Is(err, errLocked)
	}
	unlock()
	return false
}

// exclusive prevents two commands from starting and stopping the stack at once.
func (s *Stack) exclusive() (unlock func(), err error) {
	unlock, err = s.tryLock("command.lock")
	if errors.Is(err, errLocked) {
		return nil, errors.New("another up or down is at work on this stack: wait for it")
	}
	return unlock, err
}

var errLocked = errors.New("locked")

func (s *Stack) tryLock(name string) (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the stack (LOCAL_DIR): %w", err)
	}
	file, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, errLocked
	}
	return func() { file.Close() }, nil
}
