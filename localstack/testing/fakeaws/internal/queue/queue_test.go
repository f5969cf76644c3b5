package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clocked is a queue with a manual clock.
type clocked struct {
	*Queue
	now      time.Time
	accepted int
	repeated int
}

func newClocked(settings Settings, retain int) *clocked {
	c := &clocked{now: time.Unix(1e9, 0)}
	sequence := 0
	if settings.VisibilityTimeout == 0 {
		settings.VisibilityTimeout = 30 * time.Second
	}
	c.Queue = New(settings, Hooks{
		Now:      func() time.Time { return c.now },
		Sequence: func() string { sequence++; return strconv.Itoa(sequence) },
		Accepted: func(_ *Message, duplicate bool) {
			c.accepted++
			if duplicate {
				c.repeated++
			}
		},
		Retain: retain,
	})
	return c
}

func (c *clocked) send(group string, ids ...string) {
	for _, id := range ids {
		c.Send(&Message{ID: id, Body: id, GroupID: group, DeduplicationID: id})
	}
}

func (c *clocked) receive(n int) []Delivery {
	return c.Receive(context.Background(), Request{Max: n, Visibility: -1})
}

func bodies(deliveries []Delivery) []string {
	var all []string
	for _, d := range deliveries {
		all = append(all, d.Body)
	}
	return all
}

func (c *clocked) expect(t *testing.T, n int, want ...string) []Delivery {
	t.Helper()
	got := c.receive(n)
	if diff := cmp.Diff(want, bodies(got)); diff != "" {
		t.Fatalf("want (-), received (+):\n%s", diff)
	}
	return got
}

func (c *clocked) remove(t *testing.T, d Delivery) {
	t.Helper()
	if err := c.Delete(d.ReceiptHandle); err != nil {
		t.Fatal(err)
	}
}

func TestAGroupIsLockedWhileOneOfItsMessagesIsInFlight(t *testing.T) {
	t.Parallel()
	q := newClocked(Settings{FIFO: true}, 0)
	q.send("a", "a1", "a2", "a3")
	q.send("b", "b1")
	first := q.expect(t, 2, "a1", "a2")
	q.expect(t, 10, "b1")
	q.remove(t, first[0])
	q.expect(t, 10)
	q.remove(t, first[1])
	q.expect(t, 10, "a3")
}

func TestMessageVisibleAgainPrecedesItsGroup(t *testing.T) {
	t.Parallel()
	q := newClocked(Settings{FIFO: true}, 0)
	q.send("a", "a1", "a2", "a3")
	q.expect(t, 2, "a1", "a2")
	q.now = q.now.Add(30 * time.Second)
	again := q.expect(t, 10, "a1", "a2", "a3")
	if again[0].Receives != 2 || again[2].Receives != 1 {
		t.Errorf("received %d and %d times, want 2 and 1", again[0].Receives, again[2].Receives)
	}
	if err := q.ChangeVisibility(again[1].ReceiptHandle, 0); err != nil {
		t.Fatal(err)
	}
	q.remove(t, again[0])
	q.expect(t, 10) // a3 is still in flight
	q.remove(t, again[2])
	q.expect(t, 10, "a2")
}

func TestDeduplicationIDIsRememberedForFiveMinutes(t *testing.T) {
	t.Parallel()
	q := newClocked(Settings{FIFO: true}, 0)
	first := q.Send(&Message{ID: "first", GroupID: "a", DeduplicationID: "x"})
	q.remove(t, q.receive(1)[0])
	q.now = q.now.Add(5*time.Minute - 1)
	if again := q.Send(&Message{ID: "again", GroupID: "b", DeduplicationID: "x"}); again != first {
		t.Errorf("a repeated id is answered with %+v, want %+v", again, first)
	}
	q.expect(t, 1)
	q.now = q.now.Add(1)
	if later := q.Send(&Message{ID: "later", GroupID: "a", DeduplicationID: "x"}); later == first {
		t.Error("the id is remembered for more than five minutes")
	}
	if q.accepted != 3 || q.repeated != 1 {
		t.Errorf("accepted %d, %d of them repeated, want 3 and 1", q.accepted, q.repeated)
	}
}

func TestDeduplicationScopeCanBeTheMessageGroup(t *testing.T) {
	t.Parallel()
	q := newClocked(Settings{FIFO: true, DeduplicateByGroup: true}, 0)
	q.send("a", "x")
	q.send("b", "x")
	q.send("a", "x")
	q.expect(t, 10, "x", "x")
}

func TestMessageIsMovedAfterMaxReceiveCount(t *testing.T) {
	t.Parallel()
	for _, fifo := range []bool{false, true} {
		var dead []string
		q := newClocked(Settings{FIFO: fifo, MaxReceiveCount: 2, DeadLetter: func(messages []*Message) {
			for _, m := range messages {
				dead = append(dead, m.Body)
			}
		}}, 0)
		q.send("a", "a1")
		for range 2 {
			q.expect(t, 1, "a1")
			q.now = q.now.Add(time.Minute)
		}
		q.send("a", "a2")
		q.expect(t, 10, "a2")
		if diff := cmp.Diff([]string{"a1"}, dead); diff != "" {
			t.Errorf("fifo %v: %s", fifo, diff)
		}
	}
}

func TestADelayedMessageIsVisibleAfterItsDelay(t *testing.T) {
	t.Parallel()
	q := newClocked(Settings{Delay: 10 * time.Second}, 0)
	q.send("", "queue's delay")
	q.Send(&Message{Body: "own delay", Delay: 20 * time.Second})
	if visible, inFlight, delayed := q.Counts(); visible != 0 || inFlight != 0 || delayed != 2 {
		t.Errorf("visible %d, in flight %d, delayed %d", visible, inFlight, delayed)
	}
	q.expect(t, 10)
	q.now = q.now.Add(10 * time.Second)
	q.expect(t, 10, "queue's delay")
	q.now = q.now.Add(10 * time.Second)
	q.expect(t, 10, "own delay")
}

func TestReceiptHandleExpiresOnlyOnFIFOQueues(t *testing.T) {
	t.Parallel()
	for _, fifo := range []bool{false, true} {
		q := newClocked(Settings{FIFO: fifo}, 0)
		q.send("a", "a1")
		old := q.receive(1)[0]
		q.now = q.now.Add(time.Minute)
		if err := q.Delete(old.ReceiptHandle); errors.Is(err, ErrReceiptHandle) != fifo {
			t.Errorf("fifo %v: delete with a handle from before: %v", fifo, err)
		}
		if err := q.ChangeVisibility(old.ReceiptHandle, time.Hour); err == nil {
			t.Errorf("fifo %v: the visibility of a message that is not in flight was changed", fifo)
		}
		if got := len(q.receive(1)); (got == 1) != fifo {
			t.Errorf("fifo %v: %d messages are left", fifo, got)
		}
	}
}

func TestAReceiptHandleThatWasNeverHandedOutIsRefused(t *testing.T) {
	t.Parallel()
	q := newClocked(Settings{}, 0)
	for _, handle := range []string{"", "no base64!", "bm8=", (&item{number: 7, receives: 1}).handle()} {
		if err := q.Delete(handle); !errors.Is(err, ErrReceiptHandle) {
			t.Errorf("%q: %v", handle, err)
		}
	}
	q.send("", "m")
	handle := q.receive(1)[0].ReceiptHandle
	for range 2 { // deleting twice is no error
		if err := q.Delete(handle); err != nil {
			t.Error(err)
		}
	}
}

func TestAQueueKeepsNoMoreThanItIsToldTo(t *testing.T) {
	t.Parallel()
	for _, fifo := range []bool{false, true} {
		q := newClocked(Settings{FIFO: fifo}, 3)
		for i := range 10_000 {
			q.send(fmt.Sprint("group ", i%100), strconv.Itoa(i))
		}
		if visible, _, _ := q.Counts(); visible != 3 {
			t.Errorf("fifo %v: %d are visible, want 3", fifo, visible)
		}
		if groups, ok := q.backlog.(*grouped); ok && (len(groups.groups) > 4 || len(groups.ready) > 4 ||
			len(q.seen.seen) > 3) {
			t.Errorf("%d groups, %d ready, %d ids are kept", len(groups.groups), len(groups.ready), len(q.seen.seen))
		}
		if !fifo {
			q.expect(t, 10, "9997", "9998", "9999")
		}
	}
}

func TestAReceiverThatWaitsGetsWhatComes(t *testing.T) {
	t.Parallel()
	q := New(Settings{VisibilityTimeout: time.Hour}, Hooks{Now: time.Now, Accepted: func(*Message, bool) {}})
	var receivers sync.WaitGroup
	defer receivers.Wait()
	for range 3 {
		receivers.Go(func() {
			if got := q.Receive(t.Context(), Request{Max: 1, Visibility: -1, Wait: time.Minute}); len(got) != 1 {
				t.Errorf("received %d messages, want 1", len(got))
			}
		})
	}
	for range 3 {
		q.Send(&Message{})
	}
}

func TestLongPollReturnsAMessageWhoseDelayEnds(t *testing.T) {
	t.Parallel()
	q := New(Settings{}, Hooks{Now: time.Now, Accepted: func(*Message, bool) {}})
	q.Send(&Message{Delay: 20 * time.Millisecond})
	if got := q.Receive(t.Context(), Request{Max: 1, Visibility: time.Hour, Wait: time.Minute}); len(got) != 1 {
		t.Errorf("received %d messages, want 1", len(got))
	}
}

func TestAReceiverEndsWithItsContextOrItsWait(t *testing.T) {
	t.Parallel()
	q := New(Settings{}, Hooks{Now: time.Now, Accepted: func(*Message, bool) {}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := q.Receive(ctx, Request{Max: 1, Wait: time.Hour}); got != nil {
		t.Errorf("received %v", got)
	}
	if got := q.Receive(t.Context(), Request{Max: 1, Wait: time.Millisecond}); got != nil {
		t.Errorf("received %v", got)
	}
}
