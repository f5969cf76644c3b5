package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// relayStatus is the answer of the relay's /status, and the state of this relay from its /readyz.
// Their other fields are not needed.
type relayStatus struct {
	State string `json:"-"`

	Level    string
	Problems []struct{ Level, Problem, Next string }
	Relays   []struct {
		Host, State   string
		SilentSeconds float64 `json:"silent_seconds"`
	}
	Slot struct {
		Name             string
		DeliveryLagBytes int64 `json:"delivery_lag_bytes"`
	}
}

// relayStatus tells whether the relay streams or stands by, and what `relay status` finds.
func (s *Stack) relayStatus(ctx context.Context) (string, error) {
	if err := s.relayReady(ctx); err != nil {
		return "", err
	}
	var status relayStatus
	var ready struct{ State string }
	if err := s.askRelay(ctx, "/readyz", &ready); err != nil {
		return "", err
	}
	if err := s.askRelay(ctx, "/status", &status); err != nil {
		return "", err
	}
	status.State = ready.State
	if problems := status.problems("critical"); len(problems) > 0 {
		return "", errors.New(strings.Join(problems, "; "))
	}
	text := fmt.Sprintf("%s: slot %s is %d bytes of log behind", status.work(), status.Slot.Name,
		status.Slot.DeliveryLagBytes)
	return strings.Join(append([]string{text}, status.problems("warning")...), "; "), nil
}

// askRelay decodes the answer of one page.
func (s *Stack) askRelay(ctx context.Context, page string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+local(s.Ports.Relay)+page, nil)
	if err != nil {
		return fmt.Errorf("ask the relay for %s: %w", page, err)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the relay for %s: %w", page, err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("read the relay's %s (%s): %w", page, response.Status, err)
	}
	return nil
}

// work says what this relay does. A standby names the relay that it waits for.
func (r relayStatus) work() string {
	switch r.State {
	case "streaming":
		return "streams"
	case "recovering":
		return "publishes from the table"
	}
	for _, other := range r.Relays {
		if other.State == "streaming" || other.State == "recovering" {
			return "stands by for the relay on " + other.Host
		}
	}
	return "stands by"
}

// problems returns the problems of a level, each with the next step.
func (r relayStatus) problems(level string) (texts []string) {
	for _, p := range r.Problems {
		if p.Level == level {
			texts = append(texts, fmt.Sprintf("%s: %s (%s)", p.Level, p.Problem, p.Next))
		}
	}
	return texts
}
