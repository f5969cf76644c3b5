// Package audit compares the rows of the outbox table with the rows that the stream brought, from
// one horizon to the next. The Checkpointer stores a horizon only once both agree.
//
// The [Ledger] counts the rows of the stream, and the [Auditor] counts those of the table. If the
// table has more, the Auditor looks for rows that were not streamed. If there are any, the session
// ends, and the next one finds a gap. Under a [Suspicion] the counts are not enough, and the rows
// that [Recent] remembers are compared one by one.
package audit

import (
	"sync"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// maxLater bounds the number of transactions whose rows the Ledger counts individually.
const maxLater = 1 << 16

// Ledger counts the rows that the stream brings, step by step from one snapshot to the next. It
// does no I/O and is safe for concurrent use.
//
// It counts only transactions above its baseline. The baseline is an xid that was assigned after
// the counting had started, so later transactions commit in this stream and in none before. A
// transaction below the baseline may have been delivered by an earlier session and become visible
// only now: its commit is in the log before other sessions see it, and a synchronous standby can
// delay that for long.
//
// A row counts at once if its transaction is visible in the snapshot at the end of the step,
// whatever the size of the backlog. Only the other rows are counted by transaction. They are few,
// because their transactions are younger than that snapshot.
type Ledger struct {
	mu       sync.Mutex
	begun    bool
	baseline uint64
	settled  pgsnapshot.Snapshot  // start of the step
	pending  *pgsnapshot.Snapshot // end of the step; nil until it is set
	streamed int64                // rows of the step
	later    map[uint64]int64
	overflow bool // too many transactions to remember
}

// Step holds the rows that the stream brought between two snapshots.
type Step struct {
	From, To pgsnapshot.Snapshot
	Streamed int64
}

// NewLedger returns a Ledger that counts rows and has no baseline yet.
func NewLedger() *Ledger { return &Ledger{later: map[uint64]int64{}} }

// Restart discards all state and keeps counting. The Ledger then needs a new baseline.
func (l *Ledger) Restart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun, l.overflow = false, false
	l.settled, l.pending, l.streamed = pgsnapshot.Snapshot{}, nil, 0
	clear(l.later)
}

// Begin excludes the transactions up to baseline, which must have been assigned after NewLedger or
// Restart.
func (l *Ledger) Begin(baseline uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun, l.baseline = true, baseline
	l.settled = pgsnapshot.Snapshot{}.After(baseline)
	l.take(l.settled)
}

// Begun reports whether the Ledger has a baseline and has counted every row since.
func (l *Ledger) Begun() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun && !l.overflow
}

// Streamed counts a row from the stream.
func (l *Ledger) Streamed(xid uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.overflow || l.settled.Visible(xid):
	case l.pending != nil && l.pending.Visible(xid):
		l.streamed++
	case len(l.later) == maxLater && l.later[xid] == 0:
		l.overflow = true
		clear(l.later)
	default:
		l.later[xid]++
	}
}

// Expect sets the end of the step. It requires a baseline, and a snapshot that includes the last
// one.
func (l *Ledger) Expect(s pgsnapshot.Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s = s.After(l.baseline)
	l.pending = &s
	l.streamed += l.take(s)
}

// take removes the transactions that are visible in s, and returns the number of their rows.
func (l *Ledger) take(s pgsnapshot.Snapshot) (rows int64) {
	for xid, n := range l.later {
		if s.Visible(xid) {
			rows += n
			delete(l.later, xid)
		}
	}
	return rows
}

// Step returns the step that ends at the expected snapshot. Call it after the stream has brought
// every transaction that is visible in that snapshot. complete is false if there were too many
// transactions to count.
func (l *Ledger) Step() (step Step, complete bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Step{From: l.settled, To: *l.pending, Streamed: l.streamed}, !l.overflow
}

// Settle ends the step. The next step begins at its end.
func (l *Ledger) Settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled, l.pending, l.streamed = *l.pending, nil, 0
}

// Has reports whether the rows of a transaction belong to the step.
func (s Step) Has(xid uint64) bool { return s.To.Visible(xid) && !s.From.Visible(xid) }

// late returns the transactions of the step that were running at its start.
func (s Step) late() (xids []uint64) {
	for _, xid := range s.From.Running() {
		if s.To.Visible(xid) {
			xids = append(xids, xid)
		}
	}
	return xids
}
