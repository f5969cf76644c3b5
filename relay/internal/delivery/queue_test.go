package delivery

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

var (
	start    = time.Unix(1_000_000, 0)
	fifo     = sink.Limits{FIFO: true, MaxMessageBytes: 100, MaxBatchBytes: 100}
	standard = sink.Limits{MaxMessageBytes: 100, MaxBatchBytes: 100}
)

func testOptions() Options {
	return Options{InFlight: 4, EagerInFlight: 2, Backoff: Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second}}
}

func testQueue(limits sink.Limits, options Options) *queue {
	return newQueue(limits, options, map[string]string{})
}

// pushAll pushes events of one byte, each written as its group and a number: a1.
func pushAll(q *queue, ids ...string) {
	for _, id := range ids {
		q.push(&Event{Message: sink.Message{EventID: id, GroupID: id[:1]}, size: 1}, start)
	}
}

func ids(batch []*Event) string {
	var all []string
	for _, e := range batch {
		all = append(all, e.Message.EventID)
	}
	return strings.Join(all, " ")
}

func expectBatch(t *testing.T, q *queue, now time.Time, want string) []*Event {
	t.Helper()
	batch, again := q.take(now)
	if diff := cmp.Diff(want, ids(batch)); diff != "" {
		t.Fatalf("batch (-want +got):\n%s\nagain at %s", diff, again)
	}
	return batch
}

func fail(batch []*Event) []*Event {
	for _, e := range batch {
		e.err = errBroker
	}
	return batch
}

func takenNow(batch []*Event) []*Event {
	for _, e := range batch {
		e.err = nil
	}
	return batch
}

func TestABatchHoldsOneEventOfAGroupOnAFIFODestination(t *testing.T) {
	t.Parallel()
	q := testQueue(fifo, testOptions())
	pushAll(q, "a1", "a2", "b1", "b2", "b3", "c1")
	first := expectBatch(t, q, start, "a1 b1 c1")
	expectBatch(t, q, start, "")
	q.done(takenNow(first), start)
	expectBatch(t, q, start, "a2 b2")
}

func TestABatchHoldsSeveralEventsOfAGroupElsewhere(t *testing.T) {
	t.Parallel()
	grouped := testOptions()
	grouped.GroupBatches = true
	for name, q := range map[string]*queue{
		"standard":               testQueue(standard, testOptions()),
		"FIFO in group batches": testQueue(fifo, grouped),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pushAll(q, "a1", "b1", "a2", "b2", "b3")
			expectBatch(t, q, start, "a1 a2 b1 b2 b3")
		})
	}
}

func TestABatchKeepsToTheByteLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sizes []int
		want  string
	}{
		{[]int{50, 50, 1}, "a b"},
		{[]int{50, 51}, "a"},
		{[]int{101, 1}, "a"}, // it is too large for any request, and parked in its turn
		{[]int{1, 101}, "a"},
	} {
		q := testQueue(fifo, testOptions())
		for i, size := range c.sizes {
			id := string(rune('a' + i))
			q.push(&Event{Message: sink.Message{EventID: id, GroupID: id}, size: size}, start)
		}
		expectBatch(t, q, start, c.want)
	}
}

func TestTheGroupThatIsReadyLongestGoesFirst(t *testing.T) {
	t.Parallel()
	q := testQueue(standard, testOptions())
	for i := range 12 {
		pushAll(q, "a"+strconv.Itoa(i))
	}
	pushAll(q, "b1", "c1")
	first := expectBatch(t, q, start, "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9")
	q.done(takenNow(first), start)
	expectBatch(t, q, start, "b1 c1 a10 a11")
}

func TestWhatFailedGoesBackToTheFrontOfItsGroup(t *testing.T) {
	t.Parallel()
	q := testQueue(standard, testOptions())
	pushAll(q, "a1", "a2", "a3", "a4")
	batch := takenNow(expectBatch(t, q, start, "a1 a2 a3 a4"))
	pushAll(q, "a5")
	fail(batch[1:2])
	fail(batch[3:4])
	q.done(batch, start)
	retried := expectBatch(t, q, start.Add(time.Second), "a2 a4 a5")
	if got := [3]int{retried[0].attempts, retried[1].attempts, retried[2].attempts}; got != [3]int{1, 1, 0} {
		t.Errorf("attempts before this one: %v", got)
	}
}

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
	now := start
	for n, wait := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000} {
		pushAll(q, "b"+strconv.Itoa(n)) // another group, so that the destination works
		batch := takenNow(expectBatch(t, q, now, map[bool]string{true: "b0", false: "a1 b" + strconv.Itoa(n)}[false]))
		_ = wait
		fail(batch[:1])
		q.done(batch, now)
		now = now.Add(wait * time.Millisecond)
	}
}
