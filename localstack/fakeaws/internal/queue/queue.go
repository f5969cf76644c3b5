// Package queue is one SQS queue in memory: what waits, what is in flight, and what is remembered for deduplication.
package queue

import (
	"container/heap"
	"errors"
	"sync"
	"time"
)

// Settings are the attributes of a queue that change what it does.
type Settings struct {
	FIFO               bool
	DeduplicateByGroup bool // DeduplicationScope is messageGroup
	Delay              time.Duration
	VisibilityTimeout  time.Duration
	MaxReceiveCount    int                // 0: no dead-letter queue
	DeadLetter         func(m []*Message) // takes what was received MaxReceiveCount times; called without a lock
}

// Hooks connect a queue to what is around it.
type Hooks struct {
	Now      func() time.Time
	Sequence func() string // the next sequence number of a FIFO queue
	// Accepted sees every accepted message in order, duplicates too. It is called with the queue locked.
	Accepted func(m *Message, duplicate bool)
	// Retain bounds how many messages wait and how many deduplication ids are remembered; the oldest go first. 0: all.
	Retain int
}

// Queue is one queue. Its methods may be called at the same time.
type Queue struct {
	hooks Hooks

	mu        sync.Mutex
	settings  Settings
	backlog   backlog
	invisible timers           // delayed and in flight
	received  map[uint64]*item // received at least once and not deleted
	delayed   int
	last      uint64 // the number of the newest item
	seen      *Deduplication
	changed   chan struct{} // closed when something may have become visible; nil while nobody waits
}

// item is a message in its queue.
type item struct {
	*Message
	number        uint64 // orders the items of a queue
	receives      int
	firstReceived time.Time
	visibleAt     time.Time
	timer         int   // index in Queue.invisible, -1 when visible
	previous      *item // in a chain
	next          *item
}

// backlog holds the visible messages of a queue.
type backlog interface {
	push(*item)         // a new one, behind the others
	take(n int) []*item // the next n at most, which are then in flight
	putBack(*item)      // one in flight is visible again
	release(*item)      // one in flight is gone
	forget(*item)       // a visible one is gone
	oldest() *item      // the visible one to do without, or nil
	visible() int
}

// New returns an empty queue.
func New(settings Settings, hooks Hooks) *Queue {
	q := &Queue{settings: settings, hooks: hooks, seen: NewDeduplication(hooks.Retain)}
	q.Purge()
	return q
}

// Configure replaces the settings. Whether the queue is FIFO stays as it is.
func (q *Queue) Configure(settings Settings) {
	q.mu.Lock()
	defer q.mu.Unlock()
	settings.FIFO = q.settings.FIFO
	q.settings = settings
}

// Purge removes every message; what was seen for deduplication is remembered.
func (q *Queue) Purge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.invisible, q.received, q.delayed = nil, map[uint64]*item{}, 0
	q.backlog = &unordered{}
	if q.settings.FIFO {
		q.backlog = newGrouped()
	}
}

// Counts returns how many messages are visible, in flight and delayed.
func (q *Queue) Counts() (visible, inFlight, delayed int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wake(q.hooks.Now())
	return q.backlog.visible(), len(q.invisible) - q.delayed, q.delayed
}

// Send accepts m and returns it, or the message that m repeats: the same deduplication id within five minutes.
func (q *Queue) Send(m *Message) *Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.hooks.Now()
	if m.SentAt.IsZero() { // what comes from another queue keeps its time
		m.SentAt = now
	}
	if q.settings.FIFO {
		if earlier := q.seen.Repeats(m, q.settings.DeduplicateByGroup, now); earlier != nil {
			q.hooks.Accepted(m, true)
			return earlier
		}
		m.SequenceNumber = q.hooks.Sequence()
	}
	q.hooks.Accepted(m, false)
	q.keep(m, now)
	return m
}

func (q *Queue) keep(m *Message, now time.Time) {
	q.last++
	it := &item{Message: m, number: q.last, timer: -1}
	if delay := max(m.Delay, q.settings.Delay); delay > 0 {
		it.visibleAt = now.Add(delay)
		q.delayed++
		heap.Push(&q.invisible, it)
	} else {
		q.show(it)
	}
	q.signal()
}

// show makes it visible for the first time.
func (q *Queue) show(it *item) {
	q.backlog.push(it)
	if q.hooks.Retain == 0 || q.backlog.visible() <= q.hooks.Retain {
		return
	}
	if oldest := q.backlog.oldest(); oldest != nil {
		delete(q.received, oldest.number)
		q.backlog.forget(oldest)
	}
}

func (q *Queue) signal() {
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

// wake makes visible again whatever is due.
func (q *Queue) wake(now time.Time) {
	for len(q.invisible) > 0 && !q.invisible[0].visibleAt.After(now) {
		it := heap.Pop(&q.invisible).(*item)
		if it.receives == 0 {
			q.delayed--
			q.show(it)
			continue
		}
		q.backlog.putBack(it)
	}
}

// ErrReceiptHandle says that a receipt handle names no message, or not any more.
var ErrReceiptHandle = errors.New("the receipt handle is not valid")

// ErrNotInFlight says that a message is visible, so that its visibility cannot be changed.
var ErrNotInFlight = errors.New("the message is not in flight")
