package status

import (
	"strings"
	"testing"
	"time"
)

// screenOf returns the screen of a status, with one space between its words.
func screenOf(t *testing.T, s *Status) string {
	t.Helper()
	var screen strings.Builder
	if err := s.Write(&screen); err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(screen.String()), " ")
}

// TestAgesCountToTheMomentOfTheScreen: a report is up to ten seconds old, and a screen that is
// shown every second has to move.
func TestAgesCountToTheMomentOfTheScreen(t *testing.T) {
	t.Parallel()
	s := testStatus()
	r := &s.Relays[0]
	accepted := r.ReportedAt.Add(-time.Second)
	r.StartedAt, r.Since = r.ReportedAt.Add(-40*time.Second), r.ReportedAt.Add(-30*time.Second)
	r.Destinations[0].LastAcceptedAt, r.Destinations[0].Delivered = &accepted, 11
	s.Relays = append(s.Relays, Relay{Report: Report{
		Host: "b", State: "standby", StartedAt: r.StartedAt, Since: r.Since,
	}, ReportedAt: r.ReportedAt})
	s.At = r.ReportedAt.Add(7 * time.Second)
	screen := screenOf(t, s)
	for _, want := range []string{
		"streaming for 37s on a", "standby for 37s on b", "up for 47s", "11 delivered, the last 8s ago",
		"events as of 7s ago: none waits;",
	} {
		if !strings.Contains(screen, want) {
			t.Errorf("the screen does not say %q\n%s", want, screen)
		}
	}
	since := r.ReportedAt.Add(-55 * time.Second)
	r.Destinations[0] = Destination{Name: queue, State: DestinationUnavailable, Since: &since, Code: "timeout"}
	s.judge()
	if screen := screenOf(t, s); s.Level != Critical || !strings.Contains(screen, "unavailable for 1m2s: timeout") {
		t.Errorf("the level is %v\n%s", s.Level, screen)
	}
}

// TestEventsWaitWithoutContradiction: the relay counts the events that it has read, and knows of
// others that wait.
func TestEventsWaitWithoutContradiction(t *testing.T) {
	t.Parallel()
	for want, events := range map[string]Events{
		"ago: none waits;": {},
		"ago: 812 read and not delivered, the oldest has waited for 1m40s; 4/s": {
			InFlight: 812, OldestWaitSeconds: 100, ReadPerSecond: 4,
		},
		"ago: an undelivered event may have waited for 43s;": {OldestWaitSeconds: 43},
	} {
		s := testStatus()
		s.Relays[0].Events = events
		s.judge()
		if screen := screenOf(t, s); !strings.Contains(screen, want) || strings.Contains(screen, "in flight") {
			t.Errorf("the screen does not say %q\n%s", want, screen)
		}
	}
}
