package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

// relay is one process of the relay.
type relay struct {
	process *procgroup.Process
	log     *os.File
}

// settings are those that a reader sees the effect of: a destination that is unavailable for three
// seconds is deferred, and a small window makes a busy aggregate wait soon.
func (s *stage) settings() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"DATABASE_URL=" + s.databaseURL(),
		"RELAY_DESTINATION=" + s.orders.URL,
		"RELAY_ROUTES=event:" + billingType + "=" + s.billing.URL,
		"RELAY_PARK_AFTER=3s",
		"RELAY_WINDOW_EVENTS=512",
		"RELAY_LOG_FORMAT=text",
		"AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=tour",
		"AWS_SECRET_ACCESS_KEY=tour",
		"AWS_ENDPOINT_URL=" + s.broker.URL(),
		"RELAY_LARGE_EVENTS_BUCKET=" + largeBucket,
	}
}

func (s *stage) startRelay(i int) error {
	path := filepath.Join(s.Dir, fmt.Sprintf("relay-%d.log", i+1))
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.Relay, "run")
	cmd.Env = append(s.settings(), fmt.Sprintf("RELAY_LISTEN=127.0.0.1:%d", s.Ports[i]))
	cmd.Stdout, cmd.Stderr = log, log
	process, err := procgroup.Start(cmd, procgroup.Orphan{Signal: "KILL"})
	if err != nil {
		return errors.Join(fmt.Errorf("start relay %d: %w", i+1, err), log.Close())
	}
	s.relays[i] = &relay{process: process, log: log}
	return nil
}

func (r *relay) stop() {
	_ = r.process.Stop(syscall.SIGTERM, 30*time.Second)
	_ = r.log.Close()
}

func (r *relay) kill() {
	_ = syscall.Kill(r.process.Pid(), syscall.SIGKILL)
	_ = r.process.Stop(syscall.SIGKILL, time.Minute)
	_ = r.log.Close()
}

// streaming returns the number of the relay that streams, or -1.
func (s *stage) streaming(ctx context.Context) int {
	for i := range s.relays {
		if s.readiness(ctx, i) == "streaming" {
			return i
		}
	}
	return -1
}

// readiness returns the state in the answer of a relay's /readyz, or an empty text if it does not
// answer.
func (s *stage) readiness(ctx context.Context, i int) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		fmt.Sprintf("http://127.0.0.1:%d/readyz", s.Ports[i]), nil)
	if err != nil {
		return ""
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	var answer struct{ State string }
	_ = json.NewDecoder(response.Body).Decode(&answer)
	return answer.State
}

// states counts the relays in each state, as they say themselves.
func (s *stage) states(ctx context.Context) map[string]int {
	counts := map[string]int{}
	for i := range s.relays {
		counts[s.readiness(ctx, i)]++
	}
	return counts
}

// status is the part of the output of relay status --json that the steps look at.
type status struct {
	LastGap *struct {
		FoundAt    time.Time  `json:"found_at"`
		Reason     string     `json:"reason"`
		RepairedAt *time.Time `json:"repaired_at"`
	} `json:"last_gap"`
	Relays []struct {
		State        string
		Destinations []struct{ Name, State, Code string }
	}
	DeadLetters []struct {
		Code    string
		Refused bool
		Events  int
	} `json:"dead_letters"`
	Deferrals []struct {
		Destination string
		Aggregates  int
		Largest     string
		Events      int
	}
}

// status runs relay status. The exit code of a relay in trouble is no error here.
func (s *stage) status(ctx context.Context) (status, error) {
	var now status
	output, err := s.command(ctx, "status", "--json")
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return now, err
	}
	if err := json.Unmarshal([]byte(output), &now); err != nil {
		return now, fmt.Errorf("read the output of relay status: %w\n%s", err, output)
	}
	return now, nil
}

// awaitStatus returns the first status for which the condition holds.
func (s *stage) awaitStatus(ctx context.Context, condition string, holds func(status) bool) (status, error) {
	var now status
	var err error
	waitErr := s.await(ctx, condition, func() bool {
		now, err = s.status(ctx)
		return err != nil || holds(now)
	})
	return now, errors.Join(err, waitErr)
}

// command runs a command of the relay as an operator does, and returns its output.
func (s *stage) command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Relay, args...)
	cmd.Env = s.settings()
	output, err := cmd.Output()
	return string(output), err
}

// show runs a command and prints it with its output.
func (s *stage) show(ctx context.Context, args ...string) error {
	output, err := s.command(ctx, args...)
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || args[0] != "status") {
		return fmt.Errorf("relay %s: %w", strings.Join(args, " "), err)
	}
	fmt.Fprintf(s.Out, "\n    $ relay %s\n", strings.Join(args, " "))
	for line := range strings.Lines(output) {
		fmt.Fprint(s.Out, "    "+line)
	}
	fmt.Fprintln(s.Out)
	return nil
}
