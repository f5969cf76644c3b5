package shipment

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

const (
	// idAge exceeds the time in which an event can arrive again: 14 days in the queue and 14 in its
	// dead-letter queue, and both again after a redrive. Replay no older events than that.
	idAge = 60 * 24 * time.Hour
	// pruneInterval is the time between two calls of Prune in one process.
	pruneInterval = time.Hour
	// pruneTimeout bounds the time that one batch waits for Prune. The next call continues.
	pruneTimeout = 2 * time.Second
	// pruneMargin remains of the function's time for the answer. Without it a batch that was
	// processed late would arrive again.
	pruneMargin = time.Second
)

// Prune removes the ids of events that cannot arrive again, at most once an hour, and not shortly
// before the deadline of ctx.
func (s *Store) Prune(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.pruned) < pruneInterval {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pruneTimeout+pruneMargin {
		return nil
	}
	s.pruned = time.Now()
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	_, err := inbox.Prune(ctx, s.pool, idAge)
	return err
}
