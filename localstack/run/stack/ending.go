package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// ending is the end of a stack that no command asked for.
type ending struct {
	Way    Way       `json:"way"`
	At     time.Time `json:"at"` // zero if unknown
	Reason string    `json:"reason"`
}

func (s *Stack) endingPath() string { return s.path("ended.json") }

// saveEnding keeps the reason for the next command.
func (s *Stack) saveEnding(way Way, reason error) error {
	content, err := json.MarshalIndent(ending{Way: way, At: time.Now().UTC(), Reason: reason.Error()}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the reason of the end: %w", err)
	}
	if err := os.WriteFile(s.endingPath(), append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("keep the reason of the end: %w", err)
	}
	return nil
}

// ending returns the end of the last stack, or nil if a command stopped it. A supervisor that was
// killed leaves only its state.
func (s *Stack) ending() (*ending, error) {
	content, err := os.ReadFile(s.endingPath())
	if err == nil {
		var e ending
		if err := json.Unmarshal(content, &e); err != nil {
			return nil, fmt.Errorf("read %s: %w; remove the file if it is damaged", s.endingPath(), err)
		}
		return &e, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the reason of the end: %w", err)
	}
	state, err := s.readState()
	if state == nil || err != nil || state.Way == Compose || s.supervised() {
		return nil, err
	}
	return &ending{Way: state.Way, Reason: fmt.Sprintf(
		"its background process, %d, was killed, or the machine was restarted", state.Supervisor)}, nil
}

// notUp is the error of a command that needs a stack.
func (s *Stack) notUp() error {
	e, err := s.ending()
	if err != nil {
		return err
	}
	if e == nil {
		return errors.New("the stack is not up: run make localstack-up")
	}
	return fmt.Errorf("the stack is not up: %s\nrun make localstack-up; the log is %s until then, and %s afterwards",
		s.describe(*e), s.log("supervisor"), earlier(s.log("supervisor")))
}

func (s *Stack) describe(e ending) string {
	text := "it ended"
	if !e.At.IsZero() {
		text += " at " + e.At.Local().Format(time.DateTime)
	}
	text += ": " + e.Reason
	if e.Way == Embedded {
		text += "\nthe messages of the fake broker were in memory and are lost"
	}
	return text
}

// reportEnding says why the last stack ended, before a new one starts.
func (s *Stack) reportEnding() error {
	e, err := s.ending()
	if e == nil || err != nil {
		return err
	}
	s.report("the last stack was not stopped by a command: %s", s.describe(*e))
	s.report("its logs are kept as %s", earlier(s.path("log", "*.log")))
	return nil
}

// earlier is the path of the log of the run before.
func earlier(log string) string { return strings.TrimSuffix(log, ".log") + ".1.log" }

// createLog creates a log and keeps the one of the run before.
func createLog(path string) (*os.File, error) {
	if err := os.Rename(path, earlier(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keep the log of the run before: %w", err)
	}
	return os.Create(path)
}

// explained returns why a part of compose does not work: the end of its container, or its error if
// the container runs.
func (c *compose) explained(ctx context.Context, p part) error {
	id, err := c.container(ctx, p.name)
	if err != nil {
		return fmt.Errorf("%w: %w", err, p.err)
	}
	const format = "{{.State.Running}} {{.State.ExitCode}} {{.State.FinishedAt}}"
	seen, err := run(ctx, engineTimeout, "docker", "inspect", "--format", format, id)
	if err != nil {
		return fmt.Errorf("%w: %w", err, p.err)
	}
	fields := strings.Fields(seen)
	if len(fields) != 3 || fields[0] == "true" {
		return p.err
	}
	log := ""
	if fields[1] != "0" {
		log, _ = run(ctx, engineTimeout, "docker", "logs", "--tail", "1", id) // may have no log
	}
	return errors.New(containerEnd(fields[1], fields[2], log))
}

// containerEnd is the end of a container in a sentence. A container that was stopped ends with code
// 0, and its log has no reason.
func containerEnd(code, at, log string) string {
	if ended, err := time.Parse(time.RFC3339Nano, at); err == nil {
		at = ended.Local().Format(time.DateTime)
	}
	if code == "0" {
		return "its container was stopped at " + at
	}
	text := "its container ended with code " + code + " at " + at
	if reason := readable(log); reason != "" {
		text += ": " + reason
	}
	return text
}

// readable returns the message and the error of a JSON line of the relay's log, or the line itself.
func readable(line string) string {
	var entry struct{ Msg, Err string }
	if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg == "" {
		return line
	}
	return strings.TrimSuffix(entry.Msg+": "+entry.Err, ": ")
}
