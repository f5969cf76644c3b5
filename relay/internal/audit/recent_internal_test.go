package audit

import (
	"fmt"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// Far more rows than a piece holds, of transactions that are far apart and come in no order.
func TestRecentRowsKeepTheirTransactions(t *testing.T) {
	t.Parallel()
	recent := NewRecent()
	add := func(xid uint64, rows int) {
		for n := range rows {
			recent.Add(xid, fmt.Sprint(n), "id")
		}
	}
	distant := uint64(7)<<40 + 5
	add(1_000_003, 2*recentPiece+1)
	add(3, 1)
	add(distant, recentPiece+1)
	add(1_000_000, 3)
	expect := func(from, to string, rows int) {
		t.Helper()
		step := Step{From: snapshot(t, from), To: snapshot(t, to)}
		if hashes, complete := recent.of(step); len(hashes) != rows || !complete {
			t.Errorf("from %s to %s: %d rows, complete: %t, want %d", from, to, len(hashes), complete, rows)
		}
	}
	expect("1:1:", "4:4:", 1)
	expect("4:4:", "1000003:1000003:", 3)
	expect("4:4:", "1000004:1000004:", 3+2*recentPiece+1)
	expect("1:1:", fmt.Sprintf("%d:%d:", distant, distant), 1+3+2*recentPiece+1)
	expect("1:1:", fmt.Sprintf("%d:%d:", distant+1, distant+1), 1+3+2*recentPiece+1+recentPiece+1)
	recent.Forget(snapshot(t, "1000003:1000003:"))
	expect("1:1:", "1000003:1000003:", 0)
	expect("1:1:", "1000004:1000004:", 2*recentPiece+1)
	recent.Forget(snapshot(t, fmt.Sprintf("%d:%d:", distant+1, distant+1)))
	expect("1:1:", fmt.Sprintf("%d:%d:", distant+1, distant+1), 0)
	if len(recent.ranges) != 0 {
		t.Errorf("%d ranges are left", len(recent.ranges))
	}
}

func snapshot(t *testing.T, text string) pgsnapshot.Snapshot {
	t.Helper()
	s, err := pgsnapshot.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
