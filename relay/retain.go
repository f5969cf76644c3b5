package relay

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay/internal/retention"
)

// retain removes delivered rows, if they are to be removed, until ctx ends.
func (s *session) retain(ctx context.Context) error {
	if s.Retention == 0 {
		return nil
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
