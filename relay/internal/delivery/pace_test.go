package delivery

import (
	"container/heap"
	"strconv"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestAGroupWaitsOnlyForItsOwnFailure: the second event failed once, and was not part of the request after that.
func TestAGroupWaitsOnlyForItsOwnFailure(t *testing.T) {
	t.Parallel()
	q := testQueue(sink.Limits{MaxMessageBytes: 100, MaxBatchBytes: 4}, testOptions())
	pushAll(q, "a1", "a2")
	batch := takenNow(expectBatch(t, q, start, "a1 a2"))
	q.done(fail(batch), start)

	batch[0].size = 4 // no room for the second beside it
	now := start.Add(time.Second)
	first := expectBatch(t, q, now, "a1")
	q.done(takenNow(first), now)
	expectBatch(t, q, now, "a2")
}

func TestAGroupThatFailsWaitsLongerEachTime(t *testing.T) {
	t.Parallel()
	q := testQueue(fifo, testOptions())
	pushAll(q, "a1")
	now := start
	for n, wait := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000} {
		pushAll(q, "b"+strconv.Itoa(n)) // another group, so that the destination works
		batch, _ := q.take(now)
		for _, e := range batch {
			e.err = nil
			if e.Message.GroupID == "a" {
				e.err = errBroker
			}
		}
		q.done(batch, now)
		_, again := q.take(now)
		if got, most := again.Sub(now), wait*time.Millisecond; got < most/2 || got > most {
			t.Errorf("after failure %d the group waits %s, want %s to %s", n+1, got, most/2, most)
		}
		now = again
	}
	pushAll(q, "a2")
	batch, _ := q.take(now)
	q.done(takenNow(batch), now)
	q.done(fail(expectBatch(t, q, now, "a2")), now)
	if _, again := q.take(now); again.Sub(now) > 100*time.Millisecond {
		t.Errorf("after a success and a failure the group waits %s", again.Sub(now))
	}
}

func TestTheGroupWhoseWaitEndsFirstIsAskedForFirst(t *testing.T) {
	t.Parallel()
	q := testQueue(fifo, testOptions())
	waits := map[string]time.Duration{"a": 9 * time.Second, "b": 3 * time.Second, "c": time.Second, "d": 5 * time.Second}
	for _, id := range []string{"a", "b", "c", "d"} {
		pushAll(q, id)
	}
	q.done(fail(expectBatch(t, q, start, "a b c d")), start)
	for _, g := range q.waiting {
		g.retryAt = start.Add(waits[g.key])
	}
	heap.Init(&q.waiting)
	for _, id := range []string{"c", "b", "d", "a"} {
		_, again := q.take(start)
		if want := start.Add(waits[id]); !again.Equal(want) {
			t.Fatalf("to ask again after %s, want %s", again.Sub(start), waits[id])
		}
		q.done(takenNow(expectBatch(t, q, again, id)), again)
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

func TestOneRequestAtATimeFindsOutWhetherTheDestinationIsBack(t *testing.T) {
	t.Parallel()
	q := testQueue(fifo, testOptions())
	for i := range 30 {
		pushAll(q, string(rune('A'+i)))
	}
	first, _ := q.take(start)
	second, _ := q.take(start)
	q.done(fail(first), start)
	expectBatch(t, q, start.Add(time.Second), "") // the second may still tell
	q.done(fail(second), start)
	if q.failures != 1 {
		t.Errorf("two requests that were under way together count as %d failures", q.failures)
	}
	if _, again := q.take(start); again.Before(start.Add(50*time.Millisecond)) || again.After(start.Add(100*time.Millisecond)) {
		t.Errorf("the next request may start after %s", again.Sub(start))
	}
	now := start.Add(time.Second)
	probe, _ := q.take(now)
	expectBatch(t, q, now, "")
	probe[0].err = nil // one event taken is enough
	q.done(probe, now)
	for range 2 {
		if batch, _ := q.take(now); batch == nil {
			t.Error("the destination is back, and not all is sent that may be")
		}
	}
}

// TestWhatIsParkedUnsentSaysNothingAboutTheDestination: its failures still count, and no second request joins the probe.
func TestWhatIsParkedUnsentSaysNothingAboutTheDestination(t *testing.T) {
	t.Parallel()
	q := newQueue(fifo, testOptions(), map[string]string{"b": "b0"})
	pushAll(q, "a1")
	q.done(fail(expectBatch(t, q, start, "a1")), start)
	pushAll(q, "b1")
	now := start.Add(time.Second)
	probe := expectBatch(t, q, now, "b1 a1")
	takenNow(probe[:1])
	fail(probe[1:])
	q.done(probe, now)
	if q.failures != 2 {
		t.Errorf("%d failures in a row, want 2", q.failures)
	}
	pushAll(q, "b2")
	now = now.Add(time.Second)
	q.waiting[0].retryAt = now.Add(time.Second) // or the event that waits would come along
	q.done(takenNow(expectBatch(t, q, now, "b2")), now)
	if q.failures != 2 {
		t.Errorf("%d failures in a row after nothing was sent, want 2", q.failures)
	}
}

func TestFewRequestsStartAtOnceAndFurtherOnesWhenTheirBatchIsFull(t *testing.T) {
	t.Parallel()
	q := testQueue(fifo, testOptions()) // two eager, four at most
	pushAll(q, "a1")
	first := expectBatch(t, q, start, "a1")
	pushAll(q, "b1")
	expectBatch(t, q, start, "b1")
	pushAll(q, "c1", "d1", "e1", "f1", "g1", "h1", "i1", "j1", "k1")
	expectBatch(t, q, start, "")
	pushAll(q, "l1")
	expectBatch(t, q, start, "c1 d1 e1 f1 g1 h1 i1 j1 k1 l1")
	pushAll(q, "m1")
	expectBatch(t, q, start, "")
	q.done(takenNow(first), start)
	expectBatch(t, q, start, "") // still two others
	for i := range 20 {
		pushAll(q, string(rune('A'+i)))
	}
	expectBatch(t, q, start, "m1 A B C D E F G H I")
	expectBatch(t, q, start, "J K L M N O P Q R S")
	pushAll(q, "n1", "o1", "p1", "q1", "r1", "s1", "t1", "u1", "v1", "w1")
	expectBatch(t, q, start, "") // four are under way
}

// TestABatchIsFullByBytesToo: a few large events fill a request as well as ten small ones.
func TestABatchIsFullByBytesToo(t *testing.T) {
	t.Parallel()
	options := testOptions()
	options.EagerInFlight, options.Linger = 1, time.Hour
	for name, limits := range map[string]sink.Limits{"standard": standard, "FIFO": fifo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := testQueue(limits, options)
			large := func(id string) {
				q.push(&Event{Message: sink.Message{EventID: id, GroupID: id[:1]}, size: 40}, start)
			}
			large("a1")
			large("b1")
			expectBatch(t, q, start, "")
			large("c1")
			expectBatch(t, q, start, "a1 b1") // one request is under way, c1 is left
			expectBatch(t, q, start, "")
			large("d1")
			large("e1")
			expectBatch(t, q, start, "c1 d1")
		})
	}
}

func TestABatchThatIsNotFullLingers(t *testing.T) {
	t.Parallel()
	options := testOptions()
	options.Linger = 5 * time.Millisecond
	q := testQueue(fifo, options)
	pushAll(q, "a1")
	if batch, again := q.take(start.Add(3 * time.Millisecond)); batch != nil || !again.Equal(start.Add(options.Linger)) {
		t.Errorf("batch %q, again after %s", ids(batch), again.Sub(start))
	}
	q.push(&Event{Message: sink.Message{EventID: "b1", GroupID: "b"}, size: 1}, start.Add(4*time.Millisecond))
	expectBatch(t, q, start.Add(options.Linger), "a1 b1")

	for i := range 10 {
		pushAll(q, string(rune('A'+i)))
	}
	pushAll(q, "K")
	now := start.Add(3 * time.Millisecond)
	expectBatch(t, q, now, "A B C D E F G H I J") // full: at once
	q.inFlight = 0
	if batch, again := q.take(start.Add(options.Linger)); batch != nil || !again.Equal(now.Add(options.Linger)) {
		t.Errorf("batch %q, again after %s", ids(batch), again.Sub(now))
	}
}

var errThrottled = sink.RequestError(400, "RequestThrottled", "Rate exceeded", nil)

// throttle fails events as a destination does that is asked too often.
func throttle(batch []*Event) []*Event {
	for _, e := range batch {
		e.err = errThrottled
	}
	return batch
}

// TestThrottledRequestDelaysNoGroup: it concerns the destination, so its events go first in the next request.
func TestThrottledRequestDelaysNoGroup(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]sink.Limits{"standard": standard, "FIFO": fifo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := testQueue(limits, testOptions())
			pushAll(q, "o1")
			q.done(takenNow(expectBatch(t, q, start, "o1")), start) // the destination works
			pushAll(q, "a1", "b1", "c1")
			batch := expectBatch(t, q, start, "a1 b1 c1")
			pushAll(q, "d1")
			q.done(throttle(batch), start)
			if q.failures > 0 {
				t.Error("a destination that takes other requests counts as unavailable")
			}
			expectBatch(t, q, start.Add(time.Second/10), "a1 b1 c1 d1")
		})
	}
}

// TestThrottledEntryDelaysItsGroup: the others of its request were taken.
func TestThrottledEntryDelaysItsGroup(t *testing.T) {
	t.Parallel()
	q := testQueue(fifo, testOptions())
	pushAll(q, "a1", "b1")
	batch := expectBatch(t, q, start, "a1 b1")
	batch[0].err = sink.EntryError("ThrottlingException", "Rate exceeded")
	takenNow(batch[1:])
	q.done(batch, start)
	pushAll(q, "b2")
	expectBatch(t, q, start, "b2")
	if q.pacer.Throttled() {
		t.Error("one entry makes the destination count as throttled")
	}
}

// TestDestinationThatOnlyThrottlesFails: one that never took a request is asked as rarely as one that is unavailable.
func TestDestinationThatOnlyThrottlesFails(t *testing.T) {
	t.Parallel()
	q := testQueue(fifo, testOptions())
	pushAll(q, "a1")
	q.done(throttle(expectBatch(t, q, start, "a1")), start)
	if q.failures != 1 {
		t.Errorf("%d failures, want 1", q.failures)
	}
}
