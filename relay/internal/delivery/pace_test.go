package delivery

import (
	"container/heap"
	"strconv"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestAGroupWaitsOnlyForItsOwnFailure: the second event failed once, and was not part of the
// request after that.
func TestAGroupWaitsOnlyForItsOwnFailure(t *testing.T) {
	t.Parallel()
	s := testScheduler(sink.Limits{MaxMessageBytes: 100, MaxBatchBytes: 4}, testOptions())
	pushAll(s, "a1", "a2")
	batch := takenNow(expectBatch(t, s, start, "a1 a2"))
	s.done(fail(batch), start)

	batch[0].size = 4 // no room for the second beside it
	now := start.Add(time.Second)
	first := expectBatch(t, s, now, "a1")
	s.done(takenNow(first), now)
	expectBatch(t, s, now, "a2")
}

func TestAGroupThatFailsWaitsLongerEachTime(t *testing.T) {
	t.Parallel()
	s := testScheduler(fifo, testOptions())
	pushAll(s, "a1")
	now := start
	for n, milliseconds := range []int{100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000} {
		pushAll(s, "b"+strconv.Itoa(n)) // another group, so that the destination works
		batch, _ := s.take(now)
		for _, e := range batch {
			e.err = nil
			if e.Message.GroupID == "a" {
				e.err = errBroker
			}
		}
		s.done(batch, now)
		_, again := s.take(now)
		if got, most := again.Sub(now), time.Duration(milliseconds)*time.Millisecond; got < most/2 || got > most {
			t.Errorf("after failure %d the group waits %s, want %s to %s", n+1, got, most/2, most)
		}
		now = again
	}
	pushAll(s, "a2")
	batch, _ := s.take(now)
	s.done(takenNow(batch), now)
	s.done(fail(expectBatch(t, s, now, "a2")), now)
	if _, again := s.take(now); again.Sub(now) > 100*time.Millisecond {
		t.Errorf("after a success and a failure the group waits %s", again.Sub(now))
	}
}

func TestTheGroupWhoseWaitEndsFirstIsAskedForFirst(t *testing.T) {
	t.Parallel()
	s := testScheduler(fifo, testOptions())
	waits := map[string]time.Duration{
		"a": 9 * time.Second,
		"b": 3 * time.Second,
		"c": time.Second,
		"d": 5 * time.Second,
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		pushAll(s, id)
	}
	s.done(fail(expectBatch(t, s, start, "a b c d")), start)
	for _, g := range s.waiting {
		g.retryAt = start.Add(waits[g.key])
	}
	heap.Init(&s.waiting)
	for _, id := range []string{"c", "b", "d", "a"} {
		_, again := s.take(start)
		if want := start.Add(waits[id]); !again.Equal(want) {
			t.Fatalf("to ask again after %s, want %s", again.Sub(start), waits[id])
		}
		s.done(takenNow(expectBatch(t, s, again, id)), again)
	}
}

func TestBackoffNeverOverflows(t *testing.T) {
	t.Parallel()
	backoff := Backoff{Min: time.Second, Max: time.Minute}
	for _, n := range []int{7, 21, 64, 65, 1000} {
		if got := backoff.after(n); got < 30*time.Second || got > time.Minute {
			t.Errorf("after %d failures: %s", n, got)
		}
	}
	if got := (Backoff{}).after(1); got != 0 {
		t.Errorf("without a backoff: %s", got)
	}
}

func TestUnavailableDestinationGetsOneProbeAtATime(t *testing.T) {
	t.Parallel()
	s := testScheduler(fifo, testOptions())
	for i := range 30 {
		pushAll(s, string(rune('A'+i)))
	}
	first, _ := s.take(start)
	second, _ := s.take(start)
	s.done(fail(first), start)
	expectBatch(t, s, start.Add(time.Second), "") // the second may still tell
	s.done(fail(second), start)
	if s.failures != 1 {
		t.Errorf("two requests that were under way together count as %d failures", s.failures)
	}
	if _, again := s.take(start); again.Before(start.Add(50*time.Millisecond)) ||
		again.After(start.Add(100*time.Millisecond)) {
		t.Errorf("the next request may start after %s", again.Sub(start))
	}
	now := start.Add(time.Second)
	probe, _ := s.take(now)
	expectBatch(t, s, now, "")
	probe[0].err = nil // one event taken is enough
	s.done(probe, now)
	for range 2 {
		if batch, _ := s.take(now); batch == nil {
			t.Error("the destination is back, and not all is sent that may be")
		}
	}
}

// TestParkingUnsentEventsResetsNoFailures: its failures still count, and no second
// request starts during the probe.
func TestParkingUnsentEventsResetsNoFailures(t *testing.T) {
	t.Parallel()
	s := newScheduler(fifo, testOptions(), map[string]string{"b": "b0"})
	pushAll(s, "a1")
	s.done(fail(expectBatch(t, s, start, "a1")), start)
	pushAll(s, "b1")
	now := start.Add(time.Second)
	probe := expectBatch(t, s, now, "b1 a1")
	takenNow(probe[:1])
	fail(probe[1:])
	s.done(probe, now)
	if s.failures != 2 {
		t.Errorf("%d failures in a row, want 2", s.failures)
	}
	pushAll(s, "b2")
	now = now.Add(time.Second)
	s.waiting[0].retryAt = now.Add(time.Second) // otherwise the waiting event would share the batch
	s.done(takenNow(expectBatch(t, s, now, "b2")), now)
	if s.failures != 2 {
		t.Errorf("%d failures in a row after nothing was sent, want 2", s.failures)
	}
}

func TestFurtherRequestsWaitForAFullBatch(t *testing.T) {
	t.Parallel()
	s := testScheduler(fifo, testOptions()) // two eager, four at most
	pushAll(s, "a1")
	first := expectBatch(t, s, start, "a1")
	pushAll(s, "b1")
	expectBatch(t, s, start, "b1")
	pushAll(s, "c1", "d1", "e1", "f1", "g1", "h1", "i1", "j1", "k1")
	expectBatch(t, s, start, "")
	pushAll(s, "l1")
	expectBatch(t, s, start, "c1 d1 e1 f1 g1 h1 i1 j1 k1 l1")
	pushAll(s, "m1")
	expectBatch(t, s, start, "")
	s.done(takenNow(first), start)
	expectBatch(t, s, start, "") // still two others
	for i := range 20 {
		pushAll(s, string(rune('A'+i)))
	}
	expectBatch(t, s, start, "m1 A B C D E F G H I")
	expectBatch(t, s, start, "J K L M N O P Q R S")
	pushAll(s, "n1", "o1", "p1", "q1", "r1", "s1", "t1", "u1", "v1", "w1")
	expectBatch(t, s, start, "") // four are in flight
}

// TestABatchIsFullByBytesToo: a few large events fill a request as well as ten small ones.
func TestABatchIsFullByBytesToo(t *testing.T) {
	t.Parallel()
	options := testOptions()
	options.EagerInFlight, options.Linger = 1, time.Hour
	for name, limits := range map[string]sink.Limits{"standard": standard, "FIFO": fifo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testScheduler(limits, options)
			large := func(id string) {
				s.push(&Event{Message: sink.Message{EventID: id, GroupID: id[:1]}, size: 40}, start)
			}
			large("a1")
			large("b1")
			expectBatch(t, s, start, "")
			large("c1")
			expectBatch(t, s, start, "a1 b1") // one request is in flight, c1 is left
			expectBatch(t, s, start, "")
			large("d1")
			large("e1")
			expectBatch(t, s, start, "c1 d1")
		})
	}
}

func TestABatchThatIsNotFullLingers(t *testing.T) {
	t.Parallel()
	options := testOptions()
	options.Linger = 5 * time.Millisecond
	s := testScheduler(fifo, options)
	pushAll(s, "a1")
	if batch, again := s.take(start.Add(3 * time.Millisecond)); batch != nil ||
		!again.Equal(start.Add(options.Linger)) {
		t.Errorf("batch %q, again after %s", ids(batch), again.Sub(start))
	}
	s.push(&Event{Message: sink.Message{EventID: "b1", GroupID: "b"}, size: 1}, start.Add(4*time.Millisecond))
	expectBatch(t, s, start.Add(options.Linger), "a1 b1")

	for i := range 10 {
		pushAll(s, string(rune('A'+i)))
	}
	pushAll(s, "K")
	now := start.Add(3 * time.Millisecond)
	expectBatch(t, s, now, "A B C D E F G H I J") // full: at once
	s.inFlight = 0
	if batch, again := s.take(start.Add(options.Linger)); batch != nil || !again.Equal(now.Add(options.Linger)) {
		t.Errorf("batch %q, again after %s", ids(batch), again.Sub(now))
	}
}

var errThrottled = sink.RequestError(400, "RequestThrottled", "Rate exceeded", nil)

// throttle fails events as a destination that throttles does.
func throttle(batch []*Event) []*Event {
	for _, e := range batch {
		e.err = errThrottled
	}
	return batch
}

// TestThrottledRequestDelaysNoGroup: it concerns the destination, so its events go first in the
// next request.
func TestThrottledRequestDelaysNoGroup(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]sink.Limits{"standard": standard, "FIFO": fifo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testScheduler(limits, testOptions())
			pushAll(s, "o1")
			s.done(takenNow(expectBatch(t, s, start, "o1")), start) // the destination works
			pushAll(s, "a1", "b1", "c1")
			batch := expectBatch(t, s, start, "a1 b1 c1")
			pushAll(s, "d1")
			s.done(throttle(batch), start)
			if s.failures > 0 {
				t.Error("a destination that takes other requests counts as unavailable")
			}
			expectBatch(t, s, start.Add(time.Second/10), "a1 b1 c1 d1")
		})
	}
}

// TestThrottledEntryDelaysItsGroup: the others of its request were taken.
func TestThrottledEntryDelaysItsGroup(t *testing.T) {
	t.Parallel()
	s := testScheduler(fifo, testOptions())
	pushAll(s, "a1", "b1")
	batch := expectBatch(t, s, start, "a1 b1")
	batch[0].err = sink.EntryError("ThrottlingException", "Rate exceeded")
	takenNow(batch[1:])
	s.done(batch, start)
	pushAll(s, "b2")
	expectBatch(t, s, start, "b2")
	if s.pacer.Throttled() {
		t.Error("one entry makes the destination count as throttled")
	}
}

// TestDestinationThatOnlyThrottlesFails: a destination that never accepted a request gets as few
// requests as an unavailable one.
func TestDestinationThatOnlyThrottlesFails(t *testing.T) {
	t.Parallel()
	s := testScheduler(fifo, testOptions())
	pushAll(s, "a1")
	s.done(throttle(expectBatch(t, s, start, "a1")), start)
	if s.failures != 1 {
		t.Errorf("%d failures, want 1", s.failures)
	}
}
