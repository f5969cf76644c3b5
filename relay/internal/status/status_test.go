package status

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

const queue = "arn:aws:sqs:us-east-1:000000000000:orders"

// testStatus returns the status of a slot whose relay streams and is idle.
func testStatus() *Status {
	now := time.Now().UTC()
	return &Status{
		At: now, Slot: Slot{Name: "outbox_relay", Exists: true, Active: true, ActivePID: 7, WALStatus: "reserved"},
		Relays: []Relay{{Report: Report{
			Host: "a", State: "streaming", Destinations: []Destination{{Name: queue, State: DestinationOK}},
		}, ReportedAt: now, SilentSeconds: 2}},
	}
}

// killed adds a relay that was not heard from for 45 seconds.
func (s *Status) killed(host, state string) {
	s.Relays = append(s.Relays, Relay{
		Report:        Report{Host: host, State: state, StartedAt: s.At.Add(-2 * time.Hour)},
		ReportedAt:    s.At.Add(-45 * time.Second),
		SilentSeconds: 45,
	})
}

func TestEachFaultHasItsLevelAndItsWords(t *testing.T) {
	t.Parallel()
	runbooks, err := os.ReadFile("../../../infra/RUNBOOKS.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Status)
		level  Level
		code   string // empty: no problem
		words  string
	}{
		"nothing is wrong": {change: func(*Status) {}},
		"a destination is unavailable": {func(s *Status) {
			since := s.At.Add(-10 * time.Second)
			s.Relays[0].Destinations[0] = Destination{
				Name: queue, State: DestinationUnavailable, Since: &since,
				Code: "timeout", Error: "no answer", Failures: 3,
			}
		}, Warning, "destination_unavailable", "timeout after 3 failures: no answer"},
		"a destination is unavailable for long": {func(s *Status) {
			since := s.At.Add(-10 * time.Minute)
			s.Relays[0].Destinations[0] = Destination{Name: queue, State: DestinationUnavailable, Since: &since}
		}, Critical, "destination_unavailable", queue},
		"a destination refuses": {func(s *Status) {
			since := s.At.Add(-10 * time.Second)
			s.Relays[0].Destinations[0] = Destination{
				Name: queue, State: DestinationRefusing, Since: &since, Code: "InvalidMessageContents",
				Error: "not this one", Failures: 3,
			}
		}, Warning, "destination_refuses", "InvalidMessageContents: not this one"},
		"a destination refuses for long": {func(s *Status) {
			since := s.At.Add(-10 * time.Minute)
			s.Relays[0].Destinations[0] = Destination{
				Name: queue, State: DestinationRefusing, Since: &since, Code: "ValidationError",
			}
		}, Critical, "destination_refuses", "ValidationError"},
		"a destination is throttled": {func(s *Status) {
			s.Relays[0].Destinations[0] = Destination{
				Name: queue, State: DestinationThrottled, Since: &s.At, RateLimit: 300,
			}
		}, Warning, "destination_throttled", "300 requests a second"},
		"events wait": {func(s *Status) {
			s.Relays[0].Events.OldestWaitSeconds = 90
		}, Warning, "events_delayed", "1m30s"},
		"the session fails": {func(s *Status) {
			s.Relays[0].State, s.Relays[0].Error, s.Slot.Active = "starting", "publication outbox_pub is gone", false
		}, Critical, "relay_failing", "publication outbox_pub is gone"},
		"the relay is not heard from": {func(s *Status) {
			s.Relays[0].SilentSeconds, s.Slot.Active = 45, false
		}, Critical, "relay_silent", "not been heard from for 45s; it was streaming"},
		"its standby is not heard from": {func(s *Status) {
			s.Relays = append(s.Relays, Relay{Report: Report{Host: "b", State: "standby"}, SilentSeconds: 45})
		}, Warning, "relay_silent", "a second relay on b"},
		"the relay was killed and started again": {change: func(s *Status) {
			s.killed("a", "streaming")
			s.Relays[0].StartedAt = s.At.Add(-30 * time.Second)
		}},
		"the relay was killed twice": {change: func(s *Status) {
			s.killed("a", "streaming")
			s.killed("b", "streaming")
			s.Relays[1].StartedAt = s.At.Add(-30 * time.Second)
			s.Relays[0].StartedAt = s.At.Add(-20 * time.Second)
		}},
		"its standby took over from a relay that was killed": {func(s *Status) {
			s.killed("b", "streaming")
			s.Relays[0].StartedAt = s.At.Add(-time.Hour)
		}, Warning, "relay_silent", "a second relay on b"},
		"a relay started shortly before the other one was killed": {func(s *Status) {
			s.killed("b", "streaming")
			s.Relays[0].StartedAt = s.At.Add(-40 * time.Second)
		}, Warning, "relay_silent", "a second relay on b"},
		"the relay that replaced a killed one was stopped": {func(s *Status) {
			s.killed("b", "streaming")
			s.Relays[0].State, s.Relays[0].StartedAt, s.Slot.Active = stopped, s.At.Add(-30*time.Second), false
		}, Critical, "relay_missing", "no relay runs: the last one, on a"},
		"the relay was killed while events waited": {func(s *Status) {
			s.Relays[0].Events.OldestWaitSeconds, s.Slot.Active = 90, false
		}, Warning, "relay_starting", "streamed 2s ago"},
		"the relay was stopped": {func(s *Status) {
			s.Relays[0].State, s.Slot.Active = stopped, false
		}, Critical, "relay_missing", "no relay runs: the last one, on a"},
		"a relay of another version holds the slot": {func(s *Status) {
			s.Relays = nil
		}, Unknown, "relay_unknown", "process 7"},
		"all relays stand by": {func(s *Status) {
			s.Relays[0].State = "standby"
		}, Critical, "relay_not_streaming", "process 7"},
		"the server creates the slot": {func(s *Status) {
			s.Relays[0].State = "starting"
			s.state = slot.State{Exists: true, Active: true, ActivePID: 7}
			s.blockers = []string{"process 9 of database shop", "process 11 of database shop"}
		}, Warning, "relay_starting", "the oldest is process 9 of database shop"},
		"the relay starts": {func(s *Status) {
			s.Relays[0].State, s.Slot.Active = "starting", false
		}, Warning, "relay_starting", "none streams yet"},
		// it was cut off from the database a few seconds ago, and cannot report that
		"the relay streams no longer": {func(s *Status) {
			s.Slot.Active = false
		}, Warning, "relay_starting", "streamed 2s ago, and no process reads slot outbox_relay now"},
		"the relay warns": {func(s *Status) {
			s.Relays[0].Warnings = []string{"audit retries: no index"}
		}, Warning, "relay_warns", "no index"},
		"events are parked": {func(s *Status) {
			s.DeadLetters = []DeadLetter{
				{Destination: queue, Code: "TooLarge", Refused: true, Events: 2},
				{Destination: queue, Code: "BlockedGroup", Events: 5},
			}
		}, Warning, "events_parked", "7 events are parked: 2 TooLarge"},
		"events wait behind a dead letter": {func(s *Status) {
			s.DeadLetters = []DeadLetter{{Destination: queue, Code: "TooLarge", Refused: true, Events: 1}}
			s.Deferrals = []Deferral{{
				Destination: queue, Aggregates: 1, Largest: "order 1", Events: 999, Reason: deferral.ReasonBehind,
				Since: s.At.Add(-time.Hour),
			}}
		}, Warning, "events_parked", "1 event is parked: 1 TooLarge; about 999 events of 1 aggregate wait behind them"},
		"one failure": {func(s *Status) {
			since := s.At.Add(-10 * time.Second)
			s.Relays[0].Destinations[0] = Destination{
				Name: queue, State: DestinationUnavailable, Since: &since, Code: "timeout", Failures: 1,
			}
		}, Warning, "destination_unavailable", "timeout after 1 failure"},
		"a relay starts": {func(s *Status) {
			s.Relays[0].State, s.Slot.Active = "starting", false
		}, Warning, "relay_starting", "1 relay runs and none streams yet"},
		"a partition has rows": {func(s *Status) {
			s.Partitions = []string{"public.old"}
		}, Warning, "partition_attached", "public.old"},
		"a new table waits": {func(s *Status) {
			s.NewTables = []string{"tenant_1.outbox"}
		}, Warning, "new_tables_wait", "tenant_1.outbox"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testStatus()
			c.change(s)
			s.judge()
			if c.code == "" {
				if len(s.Problems) > 0 || s.Level != OK {
					t.Errorf("level %v, problems %+v", s.Level, s.Problems)
				}
				return
			}
			if len(s.Problems) != 1 || s.Level != c.level || s.Problems[0].Code != c.code ||
				!strings.Contains(s.Problems[0].Problem, c.words) {
				t.Errorf("level %v, problems %+v", s.Level, s.Problems)
			}
			if !bytes.Contains(runbooks, []byte("\n## "+s.Problems[0].Runbook+"\n")) {
				t.Errorf("infra/RUNBOOKS.md has no section %q", s.Problems[0].Runbook)
			}
			if strings.Contains(c.words, "public.old") || strings.Contains(c.words, "tenant_1") {
				_, section, _ := bytes.Cut(runbooks, []byte("\n## "+s.Problems[0].Runbook+"\n"))
				section, _, _ = bytes.Cut(section, []byte("\n## "))
				if !bytes.Contains(section, []byte("partition")) ||
					!bytes.Contains(section, []byte("pg_prepared_xacts")) {
					t.Errorf("the section %q does not tell what to do", s.Problems[0].Runbook)
				}
			}
			var screen strings.Builder
			err := s.Write(&screen)
			if text := screen.String(); err != nil || !strings.HasPrefix(text, c.level.String()) ||
				!strings.Contains(text, c.words) {
				t.Errorf("the screen is (%v)\n%s", err, text)
			}
		})
	}
}

func TestDestinationIsUnavailableUntilItAccepts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := NewDestinations(metrics.New())
		d.Expect(queue)
		is := func(state string) {
			t.Helper()
			if all, _ := d.report(time.Now()); len(all) != 1 || all[0].State != state {
				t.Errorf("the destinations are %+v, want %s", all, state)
			}
		}
		d.Requested(queue, 1, time.Millisecond, errors.New("no answer"))
		is(DestinationOK)
		time.Sleep(3 * time.Second)
		is(DestinationUnavailable)
		d.Delivered(queue, []time.Duration{0})
		is(DestinationOK)

		d.Retried(queue, "InternalError")
		time.Sleep(3 * time.Second)
		is(DestinationUnavailable)
		d.Delivered(queue, []time.Duration{0})
		is(DestinationOK)
	})
}

func TestThrottlingAndRefusalsAreNoOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := NewDestinations(metrics.New())
		d.Requested(queue, 1, 0, sink.RequestError(400, "ThrottlingException", "slow down", nil))
		d.Requested(queue, 1, 0, &sink.RejectedError{Code: "InvalidMessageContents"})
		d.Paced(queue, 300, true)
		time.Sleep(time.Minute)
		all, _ := d.report(time.Now())
		if len(all) != 1 || all[0].State != DestinationThrottled || all[0].RateLimit != 300 {
			t.Errorf("the destinations are %+v", all)
		}
	})
}

// TestAPausedDestinationIsNoOutage: nothing is sent to it, so its last failure is old.
func TestAPausedDestinationIsNoOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := NewDestinations(metrics.New())
		is := func(state string) {
			t.Helper()
			if all, _ := d.report(time.Now()); all[0].State != state {
				t.Errorf("the destination is %s, want %s", all[0].State, state)
			}
		}
		d.Requested(queue, 1, 0, errors.New("no answer"))
		time.Sleep(time.Minute)
		d.Paused(queue, true)
		is(DestinationPaused)
		d.Requested(queue, 1, 0, errors.New("no answer")) // one that was in flight
		time.Sleep(time.Minute)
		is(DestinationPaused)
		d.Paused(queue, false)
		is(DestinationOK)
	})
}

// TestTheLastFailureIsReported: a destination that did not answer refuses by now, and accepts
// nothing.
func TestTheLastFailureIsReported(t *testing.T) {
	t.Parallel()
	refused := &sink.RejectedError{Code: "TooStrange", Reason: "not this one"}
	for name, c := range map[string]struct {
		fail  func(*Destinations)
		state string
		code  string
		words string
	}{
		"a refused request": {func(d *Destinations) {
			d.Requested(queue, 1, 0, refused)
			d.Retried(queue, refused.Code)
		}, DestinationRefusing, refused.Code, "not this one"},
		"a refused message": {func(d *Destinations) {
			d.Requested(queue, 2, 0, nil)
			d.Retried(queue, "InvalidMessageContents")
			d.Retried(queue, sink.CodeUnknown) // behind it
		}, DestinationRefusing, "InvalidMessageContents", ""},
		"an error": {func(d *Destinations) {
			d.Requested(queue, 1, 0, sink.RequestError(503, "ServiceUnavailable", "try again", nil))
			d.Retried(queue, "ServiceUnavailable")
		}, DestinationUnavailable, "ServiceUnavailable", "try again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := NewDestinations(metrics.New())
				d.Requested(queue, 1, time.Second, context.DeadlineExceeded)
				d.Retried(queue, "timeout")
				time.Sleep(3 * time.Second)
				c.fail(d)
				all, _ := d.report(time.Now())
				if got := all[0]; got.State != c.state || got.Code != c.code || got.Failures != 2 ||
					!strings.Contains(got.Error, c.words) {
					t.Errorf("the destination is %+v", got)
				}
				d.Parked(queue, c.code)
				if all, _ := d.report(time.Now()); all[0].State != DestinationOK {
					t.Errorf("once the event is parked the destination is %+v", all[0])
				}
			})
		})
	}
}

// TestAParkedEventIsNoOutage: no other event is sent that could show that the destination works.
func TestAParkedEventIsNoOutage(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]func(*Destinations){
		"parked":              func(d *Destinations) { d.Parked(queue, "InvalidMessageContents") },
		"replayed":            func(d *Destinations) { d.Replayed(queue, "InvalidMessageContents") },
		"parked for the time": nil,
		"another session":     func(d *Destinations) { d.forgetFailures() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, want := NewDestinations(metrics.New()), DestinationOK
				d.Retried(queue, "InvalidMessageContents")
				time.Sleep(15 * time.Second)
				if settle != nil {
					settle(d)
				} else {
					d.Parked(queue, "DestinationUnavailable")
					want = DestinationRefusing
				}
				if all, _ := d.report(time.Now()); len(all) != 1 || all[0].State != want {
					t.Errorf("the destinations are %+v, want %s", all, want)
				}
			})
		})
	}
}

// TestTimesAreThoseOfTheDatabase: the clock of the relay's host is an hour behind.
func TestTimesAreThoseOfTheDatabase(t *testing.T) {
	t.Parallel()
	s := testStatus()
	here := s.At.Add(-time.Hour)
	since := here.Add(-5 * time.Second)
	r := &s.Relays[0]
	r.At, r.StartedAt, r.Since = here, since, since
	r.Destinations[0] = Destination{Name: queue, State: DestinationUnavailable, Since: &since, Code: "timeout"}
	r.setClock(r.ReportedAt)
	s.judge()
	var screen strings.Builder
	err := s.Write(&screen)
	if err != nil || s.Level != Warning ||
		!strings.Contains(screen.String(), "streaming for 5s on a, version , up for 5s") {
		t.Errorf("the level is %v, the screen is (%v)\n%s", s.Level, err, screen.String())
	}
}

func TestOneRelayHasTheSlot(t *testing.T) {
	t.Parallel()
	s := testStatus()
	since := s.At.Add(-10 * time.Minute)
	s.Relays = append(s.Relays, Relay{Report: Report{
		Host: "killed", State: "streaming", Destinations: []Destination{
			{Name: queue, State: DestinationUnavailable, Since: &since},
		},
	}, ReportedAt: s.At, SilentSeconds: 7})
	s.supersede()
	s.judge()
	if s.Level != OK {
		t.Errorf("the destinations of a relay that was killed are problems: %v", s.Problems)
	}
	var text bytes.Buffer
	if err := s.Write(&text); err != nil {
		t.Fatal(err)
	}
	want := "not heard from for 7s, on killed, version ; another relay has the slot since"
	if !strings.Contains(text.String(), want) {
		t.Errorf("status shows\n%s\nand not %q", &text, want)
	}
}
