// Package audit compares the rows that stand in the outbox table with those that the stream brought.
package audit

import "sync"

// maxLater bounds the transactions whose rows are remembered one by one.
const maxLater = 1 << 16

// Ledger counts the rows that the stream brings, step by step from one snapshot to the next. It does no I/O and may be used
// by several goroutines.
//
// It knows only transactions above its baseline, an xid that was given out while it was counting already: what such a
// transaction writes is committed later, so that this stream brings it and none before. An older one may have been
// delivered by an earlier session and become visible now: a commit stands in the log before others see it, for long
// where it waits for a synchronous standby.
//
// A row counts at once if its transaction is visible in the snapshot where the step ends, whatever the size of the
// backlog. Only the others are kept by transaction, and there are few of them: they are younger than that snapshot.
type Ledger struct {
	mu       sync.Mutex
	begun    bool
	baseline uint64
	settled  Snapshot  // where the step begins
	pending  *Snapshot // where it ends, once that is known
	streamed int64     // rows of the step
	later    map[uint64]int64
	overflow bool // too many transactions to remember
}

// Step is what the stream brought from one snapshot to the next.
type Step struct {
	From, To Snapshot
	Streamed int64
}

// NewLedger returns a Ledger that counts and has no baseline yet.
func NewLedger() *Ledger { return &Ledger{later: map[uint64]int64{}} }

// Restart forgets everything but goes on counting: it needs a new baseline.
func (l *Ledger) Restart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun, l.overflow = false, false
	l.settled, l.pending, l.streamed = Snapshot{}, nil, 0
	clear(l.later)
}

// Begin leaves out the transactions up to baseline. It has to be one that was given out after NewLedger or Restart.
func (l *Ledger) Begin(baseline uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun, l.baseline = true, baseline
	l.settled = Snapshot{}.after(baseline)
	l.take(l.settled)
}

// Begun reports whether the Ledger has a baseline and could remember everything since.
func (l *Ledger) Begun() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun && !l.overflow
}

// Streamed counts a row that the stream brought.
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

// Expect says where the step ends. It needs a baseline, and a snapshot that sees all that the last one saw.
func (l *Ledger) Expect(s Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s = s.after(l.baseline)
	l.pending = &s
	l.streamed += l.take(s)
}

// take forgets the transactions that are visible in s, and returns how many rows they have.
func (l *Ledger) take(s Snapshot) (rows int64) {
	for xid, n := range l.later {
		if s.Visible(xid) {
			rows += n
			delete(l.later, xid)
		}
	}
	return rows
}

// Step returns the step that ends at the snapshot which is expected, once the stream brought everything that is visible
// there. It is not complete if there was too much to remember.
func (l *Ledger) Step() (step Step, complete bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Step{From: l.settled, To: *l.pending, Streamed: l.streamed}, !l.overflow
}

// Settle ends the step: the next one begins where it ended.
func (l *Ledger) Settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled, l.pending, l.streamed = *l.pending, nil, 0
}

// Has reports whether the rows of a transaction belong to the step.
func (s Step) Has(xid uint64) bool { return s.To.Visible(xid) && !s.From.Visible(xid) }

// late returns the transactions of the step that were running at its beginning.
func (s Step) late() (xids []uint64) {
	for _, xid := range s.From.xip {
		if s.To.Visible(xid) {
			xids = append(xids, xid)
		}
	}
	return xids
}
