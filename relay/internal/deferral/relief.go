package deferral

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// relief is the state of the relief of one destination. A request in flight may take long to end,
// and must not hold up the relief of another destination.
type relief struct {
	beginMu  sync.Mutex // held while a deferral of the destination or of one of its groups begins
	busy     atomic.Bool
	failures int       // since the last success; of the goroutine that is busy, as is the next field
	retryAt  time.Time // after a failure
}

// longestRetry bounds the pause after a relief that fails again and again.
const longestRetry = 10 * time.Second

// startRelief relieves a destination, unless that is under way.
func (w *Worker) startRelief(ctx context.Context, group *errgroup.Group, destination int) {
	r := &w.relieved[destination]
	if !r.busy.CompareAndSwap(false, true) {
		return
	}
	if time.Now().Before(r.retryAt) {
		r.busy.Store(false)
		return
	}
	group.Go(func() error {
		defer r.busy.Store(false)
		err := w.relieve(ctx, destination)
		if isFinal(err) {
			return err
		}
		if err != nil || r.failures > 0 {
			w.logRetry(ctx, err)
		}
		r.ended(err)
		return nil
	})
}

func (r *relief) ended(err error) {
	if err == nil {
		r.failures, r.retryAt = 0, time.Time{}
		return
	}
	r.failures++
	r.retryAt = time.Now().Add(min(retryPause<<min(r.failures-1, 10), longestRetry))
}
