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

// explained adds the end of the part's container to its error.
func (c *compose) explained(ctx context.Context, p part) error {
	if explanation := c.explainContainer(ctx, p.name); explanation != "" {
		return fmt.Errorf("%s: %w", explanation, p.err)
	}
	return p.err
}

// explainContainer returns the end of a part's container, or nothing if it runs.
func (c *compose) explainContainer(ctx context.Context, part string) string {
	id, err := c.container(ctx, part)
	if err != nil {
		return err.Error()
	}
	const format = "{{.State.Running}} {{.State.Status}} with code {{.State.ExitCode}} at {{.State.FinishedAt}}"
	seen, err := run(ctx, engineTimeout, "docker", "inspect", "--format", format, id)
	if err != nil {
		return err.Error()
	}
	running, ended, _ := strings.Cut(seen, " ")
	if running == "true" {
		return ""
	}
	log, _ := run(ctx, engineTimeout, "docker", "logs", "--tail", "3", id) // may have no log
	return "its container " + ended + ": " + log
}
