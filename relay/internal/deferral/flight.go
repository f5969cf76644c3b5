package deferral

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

// flight has the events of a pass that are with delivery. They are settled in any order, and the
// pass is as far as the first that is not.
type flight struct {
	mu   sync.Mutex
	rows []*row
	size int   // bytes of the events that are not settled
	last int64 // every row up to this seq is settled
	sent int64 // settled since the last call of settled
	done int64 // rows up to this seq may have been done before the pass; endless if that is unknown
	wake chan struct{}
}

type row struct {
	seq     int64
	size    int
	event   *delivery.Event
	settled bool
}

func newFlight(after, done int64) *flight {
	return &flight{last: after, done: done, wake: make(chan struct{}, 1)}
}

// mayRepeat reports whether a deferral from a seq on repeats rows that were done before the pass.
// That is so for a late commit, whose seq is lower.
func (f *flight) mayRepeat(from int64) bool { return f.done != endless && from <= f.done }

// add takes the event of a row that is about to be sent. Its Settled is to be called once.
func (f *flight) add(seq int64, size int, e *delivery.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &row{seq: seq, size: size, event: e}
	f.size += size
	f.rows = append(f.rows, r)
	e.Settled = func() { f.settle(r) }
}

func (f *flight) settle(r *row) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.settled, r.event = true, nil // an event may have many MB, and its row waits for those before it
	f.size -= r.size
	f.sent++
	for len(f.rows) > 0 && f.rows[0].settled {
		f.last = f.rows[0].seq - 1 // a row that follows may have the same seq
		f.rows = f.rows[1:]
	}
	if len(f.rows) > 0 {
		f.last = f.rows[0].seq - 1
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// head returns the first event that is not settled, or nil, and how many settled ones wait for it.
func (f *flight) head() (first *delivery.Event, settled int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rows {
		switch {
		case r.settled:
			settled++
		case first == nil:
			first = r.event
		}
	}
	return first, settled
}

// has reports whether an event is one of the rows that are not settled.
func (f *flight) has(e *delivery.Event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.rows, func(r *row) bool { return r.event == e && !r.settled })
}

// isEmpty reports whether every row is settled.
func (f *flight) isEmpty() bool { return f.hasRoom(1, 1) }

// hasRoom reports whether fewer than this many rows are open, from the first that is not settled,
// and fewer than so many bytes.
func (f *flight) hasRoom(rows, size int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rows) < rows && f.size < size
}

// passed returns the seq up to which every row is settled.
func (f *flight) passed() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// settled returns how many rows were settled since the last call.
func (f *flight) settled() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	settled := f.sent
	f.sent = 0
	return settled
}

// await waits until condition holds. Meanwhile it calls tick each time that a row is settled, and
// now and then.
func (f *flight) await(ctx context.Context, condition func() bool, tick func() error) error {
	if condition() {
		return ctx.Err()
	}
	ticker := time.NewTicker(markInterval)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.wake:
		case <-ticker.C:
		}
		if err := tick(); err != nil {
			return err
		}
	}
	return ctx.Err()
}
