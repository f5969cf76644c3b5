package relay

import (
	"context"
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// recover publishes from the table what the slot may have missed, and then lets the stream be read.
func (s *session) recover(ctx context.Context) error {
	row := s.held.row
	if row.Recovery != nil {
		s.Health.Enter(health.Recovering)
		if err := s.recoverRows(ctx, row); err != nil {
			return err
		}
	}
	s.Health.Enter(health.Streaming)
	s.Log.Info("streaming", "slot", s.Slot, "lsn", row.Position.FlushLSN.String(), "epoch", row.Epoch)
	s.intake.begin()
	<-ctx.Done()
	return nil
}

func (s *session) recoverRows(ctx context.Context, row *checkpoint.Row) error {
	s.Log.Info("publishing from the table", "table", s.tableName(), "from", row.Recovery.From, "to", row.Recovery.To,
		"since", row.Recovery.Since, "after_seq", row.Position.RecoveredSeq)
	progress := newProgress(s.Log)
	reader := recovery.NewReader(s.pool, s.Table)
	err := reader.Each(ctx, *row.Recovery, row.Position.RecoveredSeq, func(seq int64, e *outbox.Envelope) error {
		if err := s.intake.recovered(ctx, e); err != nil {
			return err
		}
		s.tracker.Recovered(seq)
		progress.passed(seq, s.tracker.Load().Delivered)
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.tracker.Idle():
	}
	if err := s.store.FinishRecovery(ctx, s.held.fence); err != nil {
		return err
	}
	s.Log.Info("published everything from the table", "events", s.tracker.Load().Delivered)
	return nil
}

// progressInterval is between two lines about a recovery that takes long.
const progressInterval = 5 * time.Second

// progress logs how far a recovery is.
type progress struct {
	log  *slog.Logger
	last time.Time
}

func newProgress(log *slog.Logger) *progress { return &progress{log: log, last: time.Now()} }

func (p *progress) passed(seq int64, delivered uint64) {
	if time.Since(p.last) < progressInterval {
		return
	}
	p.last = time.Now()
	p.log.Info("publishing from the table", "seq", seq, "delivered", delivered)
}
