package deferral

import (
	"context"
	"time"
)

// forgetInterval is how often the Worker looks for deferrals that the position has passed. On an
// idle server the position may not move for long.
const forgetInterval = 2 * time.Second

// forget removes the deferrals that have ended. It is J6.
func (w *Worker) forget(ctx context.Context) error {
	_, ending := w.Gate.deferred()
	if len(ending) == 0 || time.Since(w.forgotAt) < forgetInterval {
		return nil
	}
	w.forgotAt = time.Now()
	ended := make([]Place, len(ending))
	for i, h := range ending {
		ended[i] = h.stored.place()
	}
	forgotten, err := w.Store.Forget(ctx, ended)
	for _, p := range forgotten {
		w.Gate.forget(p)
	}
	return err
}
