package status

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// fails returns a destination that has accepted nothing for ten seconds.
func (s *Status) fails(name, code, reason string) Destination {
	since := s.At.Add(-10 * time.Second)
	return Destination{
		Name: name, State: DestinationUnavailable, Since: &since, Code: code, Failures: 2,
		Error: "send 1 messages to " + name + ": " + reason,
	}
}

// bucketFails returns a destination whose large events have waited for the bucket for ten seconds.
func (s *Status) bucketFails(name, code string) Destination {
	return Destination{Name: name, State: DestinationLargeEventsWait, LargeEvents: &LargeEvents{
		Since: s.At.Add(-10 * time.Second), Failures: 1, Code: code,
		Error: "put s3://large/" + name + ": no access",
	}}
}

// testCauses compares the codes of the problems, in their order, and looks for the words in the
// problem with the same index.
func testCauses(t *testing.T, change func(*Status), want []string, words ...string) {
	t.Helper()
	s := testStatus()
	change(s)
	s.judge()
	var codes []string
	for _, p := range s.Problems {
		codes = append(codes, p.Code)
	}
	if !slices.Equal(codes, want) {
		t.Fatalf("the problems are %q, want %q: %+v", codes, want, s.Problems)
	}
	for i, word := range words {
		if !strings.Contains(s.Problems[i].Problem, word) {
			t.Errorf("%q is missing in %q", word, s.Problems[i].Problem)
		}
	}
}

func TestOneCauseIsOneProblem(t *testing.T) {
	t.Parallel()
	const other, down = "arn:aws:sqs:us-east-1:000000000000:other", "dial tcp 10.0.0.1:443: connection refused"
	for name, c := range map[string]struct {
		change func(*Status)
		code   string
		words  string
	}{
		"events are deferred": {func(s *Status) {
			s.Relays[0].Destinations[0] = s.fails(queue, "timeout", "no answer")
			s.Deferrals = []Deferral{{Destination: queue, Events: 300, Since: s.At}}
		}, "destination_unavailable", "and about 300 events wait in the outbox table: timeout after 2 failures"},
		"no destination answers": {func(s *Status) {
			s.Relays[0].Destinations = []Destination{s.fails(queue, "network", down), s.fails(other, "network", down)}
		}, "destination_unavailable", "network after 4 failures"},
		"the bucket accepts nothing": {func(s *Status) {
			s.Relays[0].Destinations = []Destination{
				s.bucketFails(queue, "AccessDenied"), s.bucketFails(other, "AccessDenied"),
			}
		}, "large_events_wait", "large events of " + queue + ", " + other + ", and later"},
		"the rate is limited": {func(s *Status) {
			s.Relays[0].Destinations[0] = Destination{Name: queue, State: DestinationThrottled, Since: &s.At}
			s.Relays[0].Events.OldestWaitSeconds = 90
		}, "destination_throttled", "; events are delayed: "},
		"no relay has a publication": {func(s *Status) {
			s.Slot.Active = false
			s.Relays[0].State, s.Relays[0].Error = "starting", "publication outbox_pub is gone"
			s.Relays = append(s.Relays, s.Relays[0])
			s.Relays[1].Host = "b"
		}, "relay_failing", "the relays on a, b do not stream: publication outbox_pub is gone"},
		"the slot is in danger": {func(s *Status) {
			s.state = slot.State{Exists: true, WALStatus: "unreserved"}
			local := NewLocal("1", health.New(metrics.New()), metrics.New(),
				func() time.Duration { return 0 }, NewDestinations(metrics.New()))
			local.health.Warn(s.state.Danger())
			s.Relays[0].Warnings = local.Report().Warnings
		}, "slot_in_danger", "raise max_slot_wal_keep_size now"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testCauses(t, c.change, []string{c.code}, c.words)
		})
	}
}

func TestIndependentFaultsAllShow(t *testing.T) {
	t.Parallel()
	const other = "arn:aws:sqs:us-east-1:000000000000:other"
	const unavailable, deferred, bucket = "destination_unavailable", "events_deferred", "large_events_wait"
	for name, c := range map[string]struct {
		change func(*Status)
		codes  []string
		words  []string
	}{
		"reasons of two destinations": {func(s *Status) {
			s.Relays[0].Destinations = []Destination{
				s.fails(queue, "AccessDenied", "no access to the key"),
				s.fails(other, "AccessDenied", "no access to the queue"),
			}
		}, []string{unavailable, unavailable}, []string{"to the key", "to the queue"}},
		"a deferral of another destination": {func(s *Status) {
			s.Relays[0].Destinations[0] = s.fails(queue, "timeout", "no answer")
			s.Deferrals = []Deferral{{Destination: other, Events: 300, Since: s.At}}
		}, []string{unavailable, deferred}, []string{queue, other}},
		"a deferral, and the relay has no slot": {func(s *Status) {
			s.Relays[0].State, s.Slot.Active = "starting", false
			s.Relays[0].Destinations[0] = s.fails(queue, "timeout", "no answer")
			s.Deferrals = []Deferral{{Destination: queue, Events: 300, Since: s.At}}
		}, []string{"relay_starting", deferred}, nil},
		"a destination and the bucket": {func(s *Status) {
			d := s.fails(queue, "timeout", "no answer")
			d.LargeEvents = s.bucketFails(queue, "AccessDenied").LargeEvents
			s.Relays[0].Destinations[0] = d
		}, []string{unavailable, bucket}, nil},
		"errors of two relays": {func(s *Status) {
			s.Slot.Active = false
			s.Relays[0].State, s.Relays[0].Error = "starting", "publication outbox_pub is gone"
			s.Relays = append(s.Relays, s.Relays[0])
			s.Relays[1].Host, s.Relays[1].Error = "b", "permission denied for table relay_checkpoints"
		}, []string{"relay_failing", "relay_failing"}, []string{"on a does not", "on b does not"}},
		"the slot is in danger, and the audit retries": {func(s *Status) {
			s.state = slot.State{Exists: true, WALStatus: "unreserved"}
			local := NewLocal("1", health.New(metrics.New()), metrics.New(),
				func() time.Duration { return 0 }, NewDestinations(metrics.New()))
			local.health.Warn(s.state.Danger())
			local.health.Retries("audit", errors.New("no index"))
			s.Relays[0].Warnings = local.Report().Warnings
		}, []string{"slot_in_danger", "relay_warns"}, []string{"", "no index"}},
		"a cause and the log that the slot keeps": {func(s *Status) {
			s.state = slot.State{Exists: true, WALStatus: "extended", SafeWALSize: -1, KeepLimit: -1}
			s.Relays[0].Destinations[0] = s.fails(queue, "timeout", "no answer")
		}, []string{unavailable, "slot_holds_log"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testCauses(t, c.change, c.codes, c.words...)
		})
	}
}

// TestAProblemNamesAFewDestinations: the lines of the destinations have the others.
func TestAProblemNamesAFewDestinations(t *testing.T) {
	t.Parallel()
	testCauses(t, func(s *Status) {
		s.Relays[0].Destinations = nil
		for i := range 50 {
			s.Relays[0].Destinations = append(s.Relays[0].Destinations,
				s.fails(fmt.Sprintf("%s-%d", queue, i), "network", "connection refused"))
		}
	}, []string{"destination_unavailable"}, "; and 45 more: network after 100 failures: ")
}
