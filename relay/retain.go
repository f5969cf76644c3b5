package relay

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay/internal/retention"
)

// retain removes delivered rows, if they are to be removed, once recovery is done and until ctx ends.
func (s *session) retain(ctx context.Context) error {
	if s.Retention == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.intake.begun:
	}
	r := retention.Retention{
		Remover:  retention.NewRemover(s.pool, s.held.fence, s.Table, s.Retention),
		Age:      s.Retention,
		Observer: s.Metrics,
		Log:      s.Log,
		Behind:   func() bool { return s.tracker.Load().Events >= s.Window.Events },
	}
	return r.Run(ctx)
}
