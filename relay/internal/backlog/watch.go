// Package backlog knows for how long the oldest undelivered event has waited, also while the relay
// cannot read the log.
package backlog

import (
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
)

// unsureAfter is how long a Watch counts an earlier answer for true. It is longer than two
// intervals between looks.
const unsureAfter = 15 * time.Second

// Watch knows since when the oldest undelivered event has waited. There is one for each process.
//
// While the relay streams, the positions of the stream prove that everything is delivered, and the
// table is not read. At any other time the Watch reads from the table which events wait. The log
// may hold events whose rows are gone, so a relay that does not read the log is never sure: from
// the last moment at which it was, [Watch.Age] rises.
type Watch struct {
	mu      sync.Mutex
	sureAt  time.Time        // up to then, every committed event is delivered, or oldest is that of the oldest which is not
	oldest  time.Time        // when the oldest waiting event was written; zero if none is known
	stream  func() time.Time // when the oldest open event was read; nil while this relay does not stream
	awaited mark
	reached mark // zero if this session has reached none
}

// mark is a snapshot of the database at a moment, and the end of the log by then.
type mark struct {
	snapshot string // pg_snapshot
	lsn      pglogrepl.LSN
	at       time.Time
}

// New returns the Watch of a process that has just begun.
func New() *Watch { return &Watch{sureAt: time.Now()} }

// Age returns for how long the oldest undelivered event has waited by now; 0 if every event is
// delivered. It is the longest time that can be excluded by nothing known.
func (w *Watch) Age(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var age time.Duration
	if !w.oldest.IsZero() {
		age = now.Sub(w.oldest)
	}
	if w.stream != nil {
		if opened := w.stream(); !opened.IsZero() {
			age = max(age, now.Sub(opened))
		}
	}
	if unsure := now.Sub(w.sureAt); unsure > unsureAfter {
		age = max(age, unsure)
	}
	return max(age, 0)
}

// Stream says that this relay begins to stream. oldest returns when the oldest event that it has
// open was read, or zero.
func (w *Watch) Stream(oldest func() time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stream, w.awaited, w.reached = oldest, mark{}, mark{}
}

// End says that this relay no longer streams.
func (w *Watch) End() { w.Stream(nil) }

// Observe takes a snapshot of the database, and a position behind the commits of everything that is
// visible in it. The Watch waits for one position at a time.
func (w *Watch) Observe(snapshot string, lsn pglogrepl.LSN, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.awaited.snapshot == "" {
		w.awaited = mark{snapshot, lsn, at}
	}
}

// Flush takes the position up to which the stream is delivered.
func (w *Watch) Flush(lsn pglogrepl.LSN) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.awaited.snapshot == "" || lsn < w.awaited.lsn {
		return
	}
	w.reached, w.awaited = w.awaited, mark{}
	w.sureAt, w.oldest = w.reached.at, time.Time{}
}

// reference returns what this session has reached, and whether it streams and whether a look at the
// table is due.
func (w *Watch) reference(now time.Time) (reached mark, streams, due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reached, w.stream != nil, w.stream == nil || now.Sub(w.sureAt) >= lookInterval
}

// looked takes what the table said at a moment. The look was made with a reference; a session that
// has reached more since knows better.
func (w *Watch) looked(reference mark, oldest, at time.Time, sure bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reached != reference {
		return
	}
	if w.oldest = oldest; sure {
		w.sureAt = at
	}
}
