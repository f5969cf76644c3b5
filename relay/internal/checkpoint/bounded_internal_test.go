package checkpoint

import (
	"testing"

	"github.com/jackc/pglogrepl"
)

func TestEmptyTransactionsTakeNoMemory(t *testing.T) {
	t.Parallel()
	tracker := NewTracker(Window{Events: 10, Bytes: 1000}, Position{})
	tracker.Begin(Transaction{CommitLSN: 1})
	h := tracker.Open("a", 1)
	tracker.Commit(2)
	for lsn := range pglogrepl.LSN(100_000) { // of another table in the publication
		tracker.Begin(Transaction{CommitLSN: 10 + 2*lsn})
		tracker.Commit(11 + 2*lsn)
	}
	if n := len(tracker.marks); n > 10 {
		t.Errorf("%d marks are kept", n)
	}
	if p := tracker.Position(); p.FlushLSN != 0 {
		t.Errorf("position %v with an open event", p)
	}
	tracker.Delivered(h)
	if p := tracker.Position(); p != (Position{FlushLSN: 11 + 2*99_999}) {
		t.Errorf("position %v after the last transaction", p)
	}
}
