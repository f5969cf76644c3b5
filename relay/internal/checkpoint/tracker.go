package checkpoint

import (
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
)

// Window bounds the open events, from the oldest undelivered event to the newest event that was
// read.
type Window struct {
	Events int
	Bytes  int // of the rows; the last row can exceed it, as its size is unknown before
}

// Handle identifies an open event.
type Handle uint64

// Tracker keeps the open events in the order of the log, and computes from the delivered prefix the
// position that may be confirmed. It does no I/O.
//
// Begin, Open, Commit, Keepalive and Recovered describe the rows that are read. One goroutine at a
// time calls them: at first the one that recovers rows from the table, and then the one that reads
// the stream. All other methods are safe for concurrent use.
type Tracker struct {
	window Window
	began  time.Time // when the Tracker was created

	mu            sync.Mutex
	events        []event // a ring: the event of handle h is at h % len(events)
	head, tail    Handle  // open: head ≤ h < tail
	bytes         int     // of the open events
	marks         []mark  // in order; those before reached are applied
	reached       int
	inTransaction bool // as read, not as delivered
	position      Position
	delivered     uint64

	awaited bool // a reader waits on room
	room    chan struct{}
	idle    chan struct{} // closed once nothing is open; nil while nothing waits for it
}

type event struct {
	id        string
	bytes     int
	opened    time.Duration // since began of the Tracker: time.Now would read two clocks
	streamed  bool          // false: recovery read the event from the table
	delivered bool
}

// mark is a change of the position that applies when every event before it is delivered.
type mark struct {
	before Handle
	kind   markKind
	lsn    pglogrepl.LSN
	count  int64
	// resumed is the transaction of a Begin of which events are already delivered; nil for nearly
	// all.
	resumed *Transaction
}

type markKind uint8

const (
	markBegin     markKind = iota // lsn: CommitLSN
	markCommit                    // lsn: TransactionEndLSN
	markRecovered                 // count: seq
)

// NewTracker returns a Tracker that continues from position.
func NewTracker(window Window, position Position) *Tracker {
	return &Tracker{
		window:   window,
		began:    time.Now(),
		events:   make([]event, window.Events),
		position: position,
		room:     make(chan struct{}, 1),
	}
}

// Begin opens a transaction. resumed counts its events that an earlier session has delivered. They
// are not opened again.
func (t *Tracker) Begin(resumed Transaction) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inTransaction = true
	begin := mark{kind: markBegin, lsn: resumed.CommitLSN}
	if resumed.Delivered > 0 {
		part := resumed // only this copy is allocated, not the parameter of each transaction
		begin.resumed = &part
	}
	t.mark(begin)
}

// Open registers an event. Call it before the event is handed on: from then on no position beyond
// the event is confirmed. The caller must have seen [Tracker.HasRoom] return true since its last
// call of Open.
//
// Open and Delivered panic if the caller breaks these rules. A relay that crashes loses nothing,
// but a relay that confirms too early does.
func (t *Tracker) Open(eventID string, bytes int) Handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tail-t.head == Handle(len(t.events)) {
		panic(fmt.Sprintf("checkpoint: opened event %s beyond a window of %d events", eventID, len(t.events)))
	}
	h := t.tail
	t.tail++
	t.bytes += bytes
	*t.at(h) = event{id: eventID, bytes: bytes, opened: time.Since(t.began), streamed: t.inTransaction}
	return h
}

// Commit closes the transaction. end must be its TransactionEndLSN: after CommitLSN the server
// would send the transaction again at every start. https://github.com/jackc/pglogrepl/issues/40
func (t *Tracker) Commit(end pglogrepl.LSN) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inTransaction = false
	t.forgetEmptyTransactions()
	t.mark(mark{kind: markCommit, lsn: end})
}

// Reached records that the stream was read exactly up to lsn: every transaction that commits before
// lsn was opened, and no later one.
func (t *Tracker) Reached(lsn pglogrepl.LSN) { t.Commit(lsn) }

// Keepalive records the ServerWALEnd of a keepalive. It counts only outside a transaction and with
// nothing open. Everything before it is then delivered or is not part of the outbox.
func (t *Tracker) Keepalive(serverWALEnd pglogrepl.LSN) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inTransaction || t.head != t.tail {
		return
	}
	t.position.FlushLSN = max(t.position.FlushLSN, serverWALEnd)
}

// Recovered records that every row up to seq that recovery has to publish was opened.
func (t *Tracker) Recovered(seq int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mark(mark{kind: markRecovered, count: seq})
}

// Delivered closes events that are delivered, parked or deferred, and events that a route dropped.
func (t *Tracker) Delivered(handles ...Handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range handles {
		if h < t.head || h >= t.tail || t.at(h).delivered {
			panic(fmt.Sprintf("checkpoint: event %d is not open", h))
		}
		t.at(h).delivered = true
	}
	t.delivered += uint64(len(handles))
	t.advance()
}

// Position returns the position of the delivered prefix.
func (t *Tracker) Position() Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.position
}

// Load is the load of the window.
type Load struct {
	Events    int       // from the oldest undelivered event to the newest
	Bytes     int       // of these
	Delivered uint64    // since the Tracker was created
	Oldest    time.Time // when the oldest undelivered event was read; zero if there is none
}

// Load returns the load of the window.
func (t *Tracker) Load() Load {
	t.mu.Lock()
	defer t.mu.Unlock()
	load := Load{Events: int(t.tail - t.head), Bytes: t.bytes, Delivered: t.delivered}
	if load.Events > 0 {
		load.Oldest = t.began.Add(t.at(t.head).opened)
	}
	return load
}

// HeldUpBy returns how many delivered events stay in the window because of the open event h, which
// was read before them, and how many bytes.
func (t *Tracker) HeldUpBy(h Handle) (events, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h = max(h, t.head); h < t.tail; h++ {
		if e := t.at(h); e.delivered {
			events++
			bytes += e.bytes
		}
	}
	return events, bytes
}

// HasRoom reports whether another event may be opened. After it has returned false, [Tracker.Room]
// fires.
func (t *Tracker) HasRoom() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awaited = !t.hasRoom()
	return !t.awaited
}

// Room fires when the window has room again after [Tracker.HasRoom] returned false.
func (t *Tracker) Room() <-chan struct{} { return t.room }

// Idle returns a channel that is closed once no event is open.
func (t *Tracker) Idle() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	idle := make(chan struct{})
	if t.head == t.tail {
		close(idle)
		return idle
	}
	if t.idle == nil {
		t.idle = idle
	}
	return t.idle
}

func (t *Tracker) hasRoom() bool {
	return int(t.tail-t.head) < t.window.Events && t.bytes < t.window.Bytes
}

func (t *Tracker) at(h Handle) *event { return &t.events[h%Handle(len(t.events))] }

// mark queues m behind the open events, or applies it at once if no event is open.
func (t *Tracker) mark(m mark) {
	m.before = t.tail
	t.marks = append(t.marks, m)
	t.advance()
}

// forgetEmptyTransactions removes the marks since the newest event, because the new Commit
// supersedes them. Otherwise the marks of transactions without events would accumulate behind an
// undelivered event.
func (t *Tracker) forgetEmptyTransactions() {
	for last := len(t.marks) - 1; last >= t.reached && t.marks[last].before == t.tail &&
		t.marks[last].kind != markRecovered; last-- {
		t.marks = t.marks[:last]
	}
}

// advance moves head over the delivered prefix and applies the marks on the way.
func (t *Tracker) advance() {
	for {
		for t.reached < len(t.marks) && t.marks[t.reached].before == t.head {
			t.reach(t.marks[t.reached])
			t.reached++
		}
		if t.head == t.tail || !t.at(t.head).delivered {
			break
		}
		t.close(t.at(t.head))
	}
	if t.reached > len(t.marks)/2 { // moves each mark at most once on average
		t.marks = t.marks[:copy(t.marks, t.marks[t.reached:])]
		t.reached = 0
	}
	t.notify()
}

// close removes the event at head from the window.
func (t *Tracker) close(e *event) {
	if e.streamed {
		t.position.Transaction.Delivered++
		t.position.Transaction.LastEventID = e.id
	}
	t.bytes -= e.bytes
	*e = event{}
	t.head++
}

func (t *Tracker) reach(m mark) {
	switch m.kind {
	case markBegin:
		t.position.Transaction = Transaction{CommitLSN: m.lsn}
		if m.resumed != nil {
			t.position.Transaction = *m.resumed
		}
	case markCommit:
		t.position.Transaction = Transaction{}
		t.position.FlushLSN = max(t.position.FlushLSN, m.lsn)
	case markRecovered:
		t.position.RecoveredSeq = max(t.position.RecoveredSeq, m.count)
	}
}

func (t *Tracker) notify() {
	if t.awaited && t.hasRoom() {
		t.awaited = false
		select {
		case t.room <- struct{}{}:
		default:
		}
	}
	if t.idle != nil && t.head == t.tail {
		close(t.idle)
		t.idle = nil
	}
}
