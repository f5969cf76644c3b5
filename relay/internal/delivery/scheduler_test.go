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

func testScheduler(limits sink.Limits, options Options) *scheduler {
	return newScheduler(limits, options, map[string]string{})
}

// pushAll pushes events of one byte, each written as its group and a number: a1.
func pushAll(s *scheduler, ids ...string) {
	for _, id := range ids {
		s.push(&Event{Message: sink.Message{EventID: id, GroupID: id[:1]}, size: 1}, start)
	}
}

func ids(batch []*Event) string {
	var all []string
	for _, e := range batch {
		all = append(all, e.Message.EventID)
	}
	return strings.Join(all, " ")
}

func expectBatch(t *testing.T, s *scheduler, now time.Time, want string) []*Event {
	t.Helper()
	batch, again := s.take(now)
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
	s := testScheduler(fifo, testOptions())
	pushAll(s, "a1", "a2", "b1", "b2", "b3", "c1")
	first := expectBatch(t, s, start, "a1 b1 c1")
	expectBatch(t, s, start, "")
	s.done(takenNow(first), start)
	expectBatch(t, s, start, "a2 b2")
}

func TestABatchHoldsSeveralEventsOfAGroupElsewhere(t *testing.T) {
	t.Parallel()
	grouped := testOptions()
	grouped.GroupBatches = true
	for name, s := range map[string]*scheduler{
		"standard":              testScheduler(standard, testOptions()),
		"FIFO in group batches": testScheduler(fifo, grouped),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pushAll(s, "a1", "b1", "a2", "b2", "b3")
			expectBatch(t, s, start, "a1 a2 b1 b2 b3")
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
		s := testScheduler(fifo, testOptions())
		for i, size := range c.sizes {
			id := string(rune('a' + i))
			s.push(&Event{Message: sink.Message{EventID: id, GroupID: id}, size: size}, start)
		}
		expectBatch(t, s, start, c.want)
	}
}

func TestTheGroupThatIsReadyLongestGoesFirst(t *testing.T) {
	t.Parallel()
	s := testScheduler(standard, testOptions())
	for i := range 12 {
		pushAll(s, "a"+strconv.Itoa(i))
	}
	pushAll(s, "b1", "c1")
	first := expectBatch(t, s, start, "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9")
	s.done(takenNow(first), start)
	expectBatch(t, s, start.Add(2*gatherTime), "b1 c1 a10 a11")
}

func TestWhatFailedGoesBackToTheFrontOfItsGroup(t *testing.T) {
	t.Parallel()
	s := testScheduler(standard, testOptions())
	pushAll(s, "a1", "a2", "a3", "a4")
	batch := takenNow(expectBatch(t, s, start, "a1 a2 a3 a4"))
	pushAll(s, "a5")
	fail(batch[1:2])
	fail(batch[3:4])
	s.done(batch, start)
	expectBatch(t, s, start.Add(time.Second), "a2 a4 a5")
}

func TestEventsOfABlockedGroupStandBehindWhatBlocksIt(t *testing.T) {
	t.Parallel()
	s := newScheduler(fifo, testOptions(), map[string]string{"a": "a0"})
	pushAll(s, "a1", "b1", "b2")
	batch := expectBatch(t, s, start, "a1 b1")
	if batch[0].blockedBy != "a0" || batch[1].blockedBy != "" {
		t.Errorf("blocked by %q and %q", batch[0].blockedBy, batch[1].blockedBy)
	}
	s.block("b", "b1")
	s.block("a", "a1") // a0 came first
	s.done(takenNow(batch), start)
	pushAll(s, "a2")
	batch = expectBatch(t, s, start, "b2 a2")
	if batch[0].blockedBy != "b1" || batch[1].blockedBy != "a0" {
		t.Errorf("blocked by %q and %q", batch[0].blockedBy, batch[1].blockedBy)
	}
}

// TestNothingOfAGroupSharesABatchBehindARefusedEvent: its group may be blocked before the later
// event is sent.
// may be blocked.
func TestNothingOfAGroupSharesABatchBehindARefusedEvent(t *testing.T) {
	t.Parallel()
	s := testScheduler(standard, testOptions())
	pushAll(s, "a1")
	s.push(&Event{Message: sink.Message{EventID: "a2", GroupID: "a"}, size: 1, rejection: &sink.RejectedError{}}, start)
	pushAll(s, "a3", "b1")
	batch := expectBatch(t, s, start, "a1 a2 b1")
	s.block("a", "a2")
	s.done(takenNow(batch), start)
	if batch = expectBatch(t, s, start, "a3"); batch[0].blockedBy != "a2" {
		t.Errorf("blocked by %q", batch[0].blockedBy)
	}
}
