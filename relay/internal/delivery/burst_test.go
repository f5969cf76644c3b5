package delivery

import (
	"fmt"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// pushEvery pushes n events of as many groups at this interval from start on, and returns the time
// of the last one.
func pushEvery(s *scheduler, n int, interval time.Duration) (last time.Time) {
	for i := range n {
		last = start.Add(time.Duration(i) * interval)
		id := fmt.Sprint(i)
		s.push(&Event{Message: sink.Message{EventID: id, GroupID: id}, size: 1}, last)
	}
	return last
}

// TestABatchFillsWhileEventsComeFast: 25 events at 20 a millisecond leave in two full batches, and
// the rest leaves when no further event arrives.
func TestABatchFillsWhileEventsComeFast(t *testing.T) {
	t.Parallel()
	s := testScheduler(fifo, testOptions())
	last := pushEvery(s, 25, gatherTime/20)
	for range 2 {
		if batch, _ := s.take(last); len(batch) != sink.MaxBatch {
			t.Fatalf("a batch of %d events, want a full one", len(batch))
		}
	}
	s.inFlight = 0
	batch, again := s.take(last)
	if batch != nil || !again.After(last) || again.After(last.Add(gatherTime)) {
		t.Fatalf("a batch of %d events, again after %s, want none for a millisecond at most", len(batch),
			again.Sub(last))
	}
	if batch, _ := s.take(again); len(batch) != 5 {
		t.Errorf("a batch of %d events, want the 5 that are left", len(batch))
	}
}

// TestEventsThatComeSlowlyAreNotHeldUp: not even after many came fast.
func TestEventsThatComeSlowlyAreNotHeldUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events   int
		interval time.Duration
	}{
		"a thousand a second": {15, time.Millisecond},
		"five a millisecond":  {15, gatherTime / 5},
		"few":                 {5, 0},
	} {
		s := testScheduler(fifo, testOptions())
		last := pushEvery(s, c.events, c.interval)
		for left := c.events; left > 0; {
			batch, again := s.take(last)
			if batch == nil {
				t.Errorf("%s: %d events wait until %s later", name, left, again.Sub(last))
				break
			}
			s.inFlight = 0
			left -= len(batch)
		}
	}
	s := testScheduler(fifo, testOptions())
	later := pushEvery(s, 20, 0).Add(2 * gatherTime)
	s.push(&Event{Message: sink.Message{EventID: "late", GroupID: "late"}, size: 1}, later)
	for range 3 {
		if batch, again := s.take(later); batch == nil {
			t.Errorf("an event that came later waits until %s later", again.Sub(later))
		}
		s.inFlight = 0
	}
}

// pushOld pushes an event of a backlog, which has time to gather.
func pushOld(s *scheduler, id, group string, gather time.Duration, now time.Time) {
	s.push(&Event{Message: sink.Message{EventID: id, GroupID: group}, Gather: gather, size: 1}, now)
}

// TestBacklogFillsBatches: events that come more slowly than a burst leave in full batches if they
// are old.
func TestBacklogFillsBatches(t *testing.T) {
	t.Parallel()
	s := testScheduler(fifo, testOptions())
	now := start
	for n := range 25 {
		now = now.Add(300 * time.Microsecond)
		pushOld(s, fmt.Sprint(n), fmt.Sprint(n), 5*time.Millisecond, now)
		batch, _ := s.take(now)
		if full := (n+1)%sink.MaxBatch == 0; full != (batch != nil) || full && len(batch) != sink.MaxBatch {
			t.Fatalf("after event %d a batch of %d events", n+1, len(batch))
		}
		if batch != nil {
			s.inFlight = 0
		}
	}
	batch, again := s.take(now)
	if batch != nil || again.After(now.Add(5*time.Millisecond)) {
		t.Fatalf("a batch of %d events, again after %s, want none for 5 ms at most", len(batch), again.Sub(now))
	}
	if batch, _ := s.take(again); len(batch) != 5 {
		t.Errorf("a batch of %d events, want the 5 that are left", len(batch))
	}
}

// TestOneBusyGroupGathersNothing: the next event of a FIFO group fills no batch, so the group is
// not held up for more.
func TestOneBusyGroupGathersNothing(t *testing.T) {
	t.Parallel()
	s := testScheduler(fifo, testOptions())
	for n := range 3 {
		pushOld(s, fmt.Sprint(n), "busy", 5*time.Millisecond, start)
	}
	now := start.Add(5*time.Millisecond + 1)
	for n := range 3 {
		batch, again := s.take(now)
		if len(batch) != 1 {
			t.Fatalf("event %d waits until %s later", n, again.Sub(now))
		}
		now = now.Add(15 * time.Millisecond)
		pushOld(s, fmt.Sprint(n+3), "busy", 5*time.Millisecond, now)
		s.done(takenNow(batch), now)
	}
}
