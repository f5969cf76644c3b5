// Package queue is one SQS queue in memory: visible messages, messages in flight, and
// deduplication.
package queue

import (
	"container/heap"
	"errors"
	"sync"
	"time"
)

// Settings are the attributes of a queue that change its behaviour.
type Settings struct {
	FIFO               bool
	DeduplicateByGroup bool // DeduplicationScope is messageGroup
	Delay              time.Duration
	VisibilityTimeout  time.Duration
	MaxReceiveCount    int                // 0: no dead-letter queue
	DeadLetter         func(m []*Message) // receives messages after MaxReceiveCount receipts; called without a lock
}

// Hooks connect a queue to its environment.
type Hooks struct {
	Now      func() time.Time
	Sequence func() string // the next sequence number of a FIFO queue
	// Accepted is called for every accepted message in order, including duplicates, while the queue
	// is locked.
	Accepted func(m *Message, duplicate bool)
	// Retain bounds the number of waiting messages and of stored deduplication ids. The oldest go
	// first. 0 means no limit.
	Retain int
}

// Queue is one queue. Its methods are safe for concurrent use.
type Queue struct {
	hooks Hooks

	mu        sync.Mutex
	settings  Settings
	backlog   backlog
	invisible timers           // delayed and in flight
	received  map[uint64]*item // received at least once and not deleted, by number
	delayed   int
	last      uint64 // the number of the newest item
	seen      *Deduplication
	changed   chan struct{} // closed when a message may have become visible; nil while nothing waits for it
}

// item is a message in a queue.
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
	push(*item)         // adds a new item at the end
	take(n int) []*item // removes up to n items, which are then in flight
	putBack(*item)      // makes an item in flight visible again
	release(*item)      // removes an item in flight
	forget(*item)       // removes a visible item
	oldest() *item      // the visible item to drop first, or nil
	visible() int
}

// New returns an empty queue.
func New(settings Settings, hooks Hooks) *Queue {
	q := &Queue{settings: settings, hooks: hooks, seen: NewDeduplication(hooks.Retain)}
	q.Purge()
	return q
}

// Configure replaces the settings, except whether the queue is FIFO.
func (q *Queue) Configure(settings Settings) {
	q.mu.Lock()
	defer q.mu.Unlock()
	settings.FIFO = q.settings.FIFO
	q.settings = settings
}

// Purge removes every message and keeps the deduplication ids.
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

// Send accepts m and returns it, or the message that m repeats: the same deduplication id within
// five minutes.
func (q *Queue) Send(m *Message) *Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.hooks.Now()
	if m.SentAt.IsZero() { // a message from another queue keeps its time
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

// show makes an item visible for the first time.
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

// wake makes the items visible whose time has come.
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

// ErrReceiptHandle means that a receipt handle identifies no message, or no longer does.
var ErrReceiptHandle = errors.New("the receipt handle is not valid")

// ErrNotInFlight means that a message is visible already, so its visibility cannot be changed.
var ErrNotInFlight = errors.New("the message is not in flight")
