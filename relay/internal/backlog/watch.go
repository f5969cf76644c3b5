// Package backlog measures the age of the oldest undelivered event, even while the relay cannot
// read the log.
package backlog

import (
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
)

// unsureAfter is the time for which an answer is valid. It is longer than two intervals between
// reads.
const unsureAfter = 15 * time.Second

// Watch knows the age of the oldest undelivered event. Each process has one Watch.
//
// While the relay streams, the positions of the stream prove that everything is delivered, and the
// table is not read. At any other time the Watch reads the waiting events from the table. The log
// may hold events whose rows are gone, so a relay that does not read the log is never sure.
// [Watch.Age] then rises from the last moment at which the relay was sure.
type Watch struct {
	mu sync.Mutex
	// every event that was committed until then is delivered, or oldest is the time of the first
	// that is not
	sureAt  time.Time
	oldest  time.Time        // when the oldest waiting event was written; zero if none is known
	stream  func() time.Time // when the oldest open event was read; nil while this relay does not stream
	awaited mark
	reached mark // zero if this session has none
}

// mark is a database snapshot, its time, and the end of the log at that time.
type mark struct {
	snapshot string // pg_snapshot
	lsn      pglogrepl.LSN
	at       time.Time
}

// New returns the Watch of a process that has just started.
func New() *Watch { return &Watch{sureAt: time.Now()} }

// Age returns the age of the oldest undelivered event at the time now, or 0 if every event is
// delivered. It is the longest age that is not disproved.
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

// Stream records that this relay starts to stream. oldest returns the time at which the relay read
// its oldest open event, or zero.
func (w *Watch) Stream(oldest func() time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stream, w.awaited, w.reached = oldest, mark{}, mark{}
}

// End records that this relay stopped streaming.
func (w *Watch) End() { w.Stream(nil) }

// Observe records a database snapshot, and a position after the commits of all transactions that
// are visible in it. The Watch tracks one position at a time.
func (w *Watch) Observe(snapshot string, lsn pglogrepl.LSN, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.awaited.snapshot == "" {
		w.awaited = mark{snapshot, lsn, at}
	}
}

// Flush records the position up to which the stream is delivered.
func (w *Watch) Flush(lsn pglogrepl.LSN) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.awaited.snapshot == "" || lsn < w.awaited.lsn {
		return
	}
	w.reached, w.awaited = w.awaited, mark{}
	w.sureAt, w.oldest = w.reached.at, time.Time{}
}

// reference returns the mark of this session, whether the relay streams, and whether a read of the
// table is due.
func (w *Watch) reference(now time.Time) (reached mark, streams, due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reached, w.stream != nil, w.stream == nil || now.Sub(w.sureAt) >= lookInterval
}

// looked records the result of a read of the table that was made with a reference. It is ignored if
// the session has reached a later mark.
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
