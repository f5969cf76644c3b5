package checkpoint_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
)

// patience bounds every wait of these tests.
const patience = 10 * time.Second

func newTracker() *checkpoint.Tracker {
	return checkpoint.NewTracker(checkpoint.Window{Events: 4, Bytes: 100}, checkpoint.Position{FlushLSN: 1000})
}

func expect(t *testing.T, tracker *checkpoint.Tracker, want checkpoint.Position) {
	t.Helper()
	if diff := cmp.Diff(want, tracker.Position()); diff != "" {
		t.Errorf("position (-want +got):\n%s", diff)
	}
}

func TestFlushIsTheEndOfTheLastDeliveredTransaction(t *testing.T) {
	t.Parallel()
	tracker := newTracker()
	tracker.Begin(checkpoint.Transaction{CommitLSN: 1100})
	first := tracker.Open("a", 1)
	tracker.Commit(1108)
	tracker.Begin(checkpoint.Transaction{CommitLSN: 1200})
	second := tracker.Open("b", 1)
	tracker.Commit(1208)

	tracker.Delivered(second) // behind an undelivered event
	expect(t, tracker, checkpoint.Position{FlushLSN: 1000, Transaction: checkpoint.Transaction{CommitLSN: 1100}})
	tracker.Delivered(first)
	expect(t, tracker, checkpoint.Position{FlushLSN: 1208})
}

func TestFlushWaitsForTheCommit(t *testing.T) {
	t.Parallel()
	tracker := newTracker()
	tracker.Begin(checkpoint.Transaction{CommitLSN: 1100})
	tracker.Delivered(tracker.Open("a", 1))
	inside := checkpoint.Position{FlushLSN: 1000, Transaction: checkpoint.Transaction{
		CommitLSN: 1100, Delivered: 1,
		LastEventID: "a",
	}}
	expect(t, tracker, inside)
	tracker.Commit(1108)
	expect(t, tracker, checkpoint.Position{FlushLSN: 1108})
}

func TestKeepaliveCountsOnlyWithNothingOpen(t *testing.T) {
	t.Parallel()
	tracker := newTracker()
	tracker.Keepalive(1050)
	expect(t, tracker, checkpoint.Position{FlushLSN: 1050})
	tracker.Keepalive(1040)
	expect(t, tracker, checkpoint.Position{FlushLSN: 1050})

	tracker.Begin(checkpoint.Transaction{CommitLSN: 1100})
	tracker.Keepalive(1200)
	event := tracker.Open("a", 1)
	tracker.Commit(1108)
	tracker.Keepalive(1200)
	expect(t, tracker, checkpoint.Position{FlushLSN: 1050, Transaction: checkpoint.Transaction{CommitLSN: 1100}})
	tracker.Delivered(event)
	expect(t, tracker, checkpoint.Position{FlushLSN: 1108})
	tracker.Keepalive(1200)
	expect(t, tracker, checkpoint.Position{FlushLSN: 1200})
}

func TestResumedTransactionContinuesToCount(t *testing.T) {
	t.Parallel()
	row := checkpoint.Position{FlushLSN: 1000, Transaction: checkpoint.Transaction{
		CommitLSN: 1100, Delivered: 7,
		LastEventID: "g",
	}}
	tracker := checkpoint.NewTracker(checkpoint.Window{Events: 4, Bytes: 100}, row)
	expect(t, tracker, row)
	tracker.Begin(row.Transaction)
	expect(t, tracker, row)
	tracker.Delivered(tracker.Open("h", 1))
	row.Transaction.Delivered, row.Transaction.LastEventID = 8, "h"
	expect(t, tracker, row)
}

func TestRecoveredRowsCountInOrder(t *testing.T) {
	t.Parallel()
	tracker := newTracker()
	first, second := tracker.Open("a", 1), tracker.Open("b", 1)
	tracker.Recovered(12)
	tracker.Delivered(second)
	expect(t, tracker, checkpoint.Position{FlushLSN: 1000})
	tracker.Delivered(first)
	expect(t, tracker, checkpoint.Position{FlushLSN: 1000, RecoveredSeq: 12})
}

func TestNoTransactionIsNamedBetweenTransactions(t *testing.T) {
	t.Parallel()
	tracker := newTracker()
	tracker.Delivered(tracker.Open("a", 1)) // a row that recovery read
	expect(t, tracker, checkpoint.Position{FlushLSN: 1000})
}

func TestWindowIsBoundedInEventsAndBytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		rows   []int // bytes of the open rows
		isOpen bool  // open for another row
	}{
		{"empty", nil, true},
		{"one event less than fits", []int{1, 1, 1}, true},
		{"as many events as fit", []int{1, 1, 1, 1}, false},
		{"one byte less than fits", []int{99}, true},
		{"as many bytes as fit", []int{50, 50}, false},
		{"one row larger than the window", []int{1000}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tracker := newTracker()
			for i, bytes := range c.rows {
				if !tracker.HasRoom() {
					t.Fatalf("no room for event %d", i)
				}
				tracker.Open(strconv.Itoa(i), bytes)
			}
			if got := tracker.HasRoom(); got != c.isOpen {
				t.Errorf("HasRoom is %v", got)
			}
		})
	}
}

func TestLoadCountsFromTheOldestUndeliveredEvent(t *testing.T) {
	t.Parallel()
	tracker := newTracker()
	before := time.Now()
	first := tracker.Open("a", 10)
	between := time.Now()
	second := tracker.Open("b", 20)
	tracker.Delivered(second)
	got, want := tracker.Load(), checkpoint.Load{Events: 2, Bytes: 30, Delivered: 1}
	if got.Oldest.Before(before) || got.Oldest.After(between) {
		t.Errorf("the oldest was opened at %v, not from %v to %v", got.Oldest, before, between)
	}
	if want.Oldest = got.Oldest; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	tracker.Delivered(first)
	if got, want := tracker.Load(), (checkpoint.Load{Delivered: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestMisuseEndsTheProcess(t *testing.T) {
	t.Parallel()
	for name, misuse := range map[string]func(*checkpoint.Tracker){
		"an event beyond the window": func(tracker *checkpoint.Tracker) {
			for range 5 {
				tracker.Open("a", 1)
			}
		},
		"an event that was never opened": func(tracker *checkpoint.Tracker) { tracker.Delivered(0) },
		"an event that is closed": func(tracker *checkpoint.Tracker) {
			h := tracker.Open("a", 1)
			tracker.Delivered(h)
			tracker.Delivered(h)
		},
		"an event delivered twice behind one that is open": func(tracker *checkpoint.Tracker) {
			tracker.Open("a", 1)
			h := tracker.Open("b", 1)
			tracker.Delivered(h)
			tracker.Delivered(h)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			misuse(newTracker())
		})
	}
}

// TestRoomIsNeverMissed would hang if a wake-up were lost: the reader waits for room with every
// event.
func TestRoomIsNeverMissed(t *testing.T) {
	t.Parallel()
	const events = 20_000
	tracker := newTracker()
	open := make(chan checkpoint.Handle, 4)
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for h := range open {
				tracker.Delivered(h)
			}
		})
	}
	deadline := time.After(patience)
	for i := range events {
		for !tracker.HasRoom() {
			select {
			case <-tracker.Room():
			case <-deadline:
				t.Fatalf("event %d: no wake-up", i)
			}
		}
		open <- tracker.Open("a", 30)
	}
	close(open)
	workers.Wait()
	select {
	case <-tracker.Idle():
	case <-deadline:
		t.Fatal("never idle")
	}
	if got := tracker.Load(); got != (checkpoint.Load{Delivered: events}) {
		t.Errorf("at the end: %+v", got)
	}
}

// TestMarksAreForgotten: a sequence of small transactions must not grow the Tracker.
func TestMarksAreForgotten(t *testing.T) {
	tracker := newTracker()
	lsn := pglogrepl.LSN(2000)
	var last checkpoint.Handle
	transaction := func() {
		lsn += 8
		tracker.Begin(checkpoint.Transaction{CommitLSN: lsn})
		h := tracker.Open("a", 1)
		tracker.Commit(lsn + 4)
		if h > 0 {
			tracker.Delivered(last) // so that one event is always open
		}
		last = h
	}
	transactions := func() {
		for range 10_000 {
			transaction()
		}
	}
	if allocs := testing.AllocsPerRun(1, transactions); allocs != 0 {
		t.Errorf("%v allocations in ten thousand transactions", allocs)
	}
}
