package deferral

import (
	"context"
	"sync"
)

// flight has the events of a pass that are with delivery. They are settled in any order, and the
// pass is as far as the first that is not.
type flight struct {
	mu   sync.Mutex
	rows []*row
	last int64 // seq of the last row before rows
	sent int64 // settled since the last call of passed
	wake chan struct{}
}

type row struct {
	seq     int64
	settled bool
}

func newFlight(after int64) *flight { return &flight{last: after, wake: make(chan struct{}, 1)} }

// add takes a row that is about to be sent. settled is to be called once.
func (f *flight) add(seq int64) (settled func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &row{seq: seq}
	f.rows = append(f.rows, r)
	return func() { f.settle(r) }
}

func (f *flight) settle(r *row) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.settled = true
	f.sent++
	for len(f.rows) > 0 && f.rows[0].settled {
		f.last = f.rows[0].seq
		f.rows = f.rows[1:]
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// open returns the number of rows from the first that is not settled.
func (f *flight) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rows)
}

// passed returns the seq up to which every row is settled, and how many were settled since the last
// call.
func (f *flight) passed() (last, settled int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	settled = f.sent
	f.sent = 0
	return f.last, settled
}

// awaitRoom waits until fewer than limit rows are open, or calls tick each time that one is
// settled.
func (f *flight) awaitRoom(ctx context.Context, limit int, tick func() error) error {
	for f.open() >= limit {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.wake:
		}
		if err := tick(); err != nil {
			return err
		}
	}
	return ctx.Err()
}
