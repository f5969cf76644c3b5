package status

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestAcceptedEventsHideNoFailingBucket: the small events of a destination need no bucket, so their
// success says nothing about it.
func TestAcceptedEventsHideNoFailingBucket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := NewDestinations(metrics.New())
		is := func(state string, wait time.Duration) {
			t.Helper()
			all, _ := d.report(time.Now())
			if all[0].State != state || largeEventsWait(all, time.Now()) != wait {
				t.Errorf("the destination is %+v, want %s for %s", all[0], state, wait)
			}
		}
		refused := &sink.Error{Code: "AccessDenied", Err: errors.New("no s3:PutObject")}
		d.Unstored(queue, 1, refused)
		d.Delivered(queue, []time.Duration{0})
		is(DestinationOK, 0)
		time.Sleep(3 * time.Second)
		d.Unstored(queue, 2, refused)
		d.Delivered(queue, []time.Duration{0})
		is(DestinationLargeEventsWait, 3*time.Second)
		d.Requested(queue, 1, 0, errors.New("no answer"))
		time.Sleep(3 * time.Second)
		is(DestinationUnavailable, 6*time.Second)
		d.Stored(queue, 1, 2<<20)
		d.Delivered(queue, []time.Duration{0})
		is(DestinationOK, 0)
		d.Unstored(queue, 1, refused)
		d.forgetFailures() // the session ended
		time.Sleep(3 * time.Second)
		is(DestinationOK, 0)
	})
}

// TestAFailingBucketHasItsWords also beside an unavailable destination, and by the clock of the
// database.
func TestAFailingBucketHasItsWords(t *testing.T) {
	t.Parallel()
	for _, state := range []string{DestinationLargeEventsWait, DestinationUnavailable} {
		s := testStatus()
		r := &s.Relays[0]
		r.At = s.At.Add(-time.Hour)
		since := r.At.Add(-90 * time.Second)
		r.Events.OldestWaitSeconds = 90
		r.Destinations[0] = Destination{
			Name: queue, State: state, Since: pointer(since), Code: "AccessDenied",
			LargeEvents: &LargeEvents{Since: since, Failures: 3, Code: "AccessDenied", Error: "no s3:PutObject"},
		}
		r.setClock(r.ReportedAt)
		s.judge()
		var screen strings.Builder
		if err := s.Write(&screen); err != nil {
			t.Fatal(err)
		}
		for _, words := range []string{
			"warning: large events of " + queue + ", and later events of their aggregates, wait for the bucket since " +
				clock(s.At.Add(-90*time.Second)) + ": AccessDenied after 3 failures: no s3:PutObject\n",
			`(runbook "Large events wait")`, queue + " " + state + " for 1m30s: AccessDenied\n",
		} {
			if !strings.Contains(screen.String(), words) {
				t.Errorf("the screen has no %q:\n%s", words, screen.String())
			}
		}
		if strings.Contains(screen.String(), "the oldest event has waited") {
			t.Errorf("the screen has the effect beside its cause:\n%s", screen.String())
		}
	}
}
