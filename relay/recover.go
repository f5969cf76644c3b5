package relay

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// errNext says that a part of a recovery is done, or a suspicion ended, and that the next session has to do what follows: on a
// connection whose walsender knows nothing of the publication as it was before.
var errNext = errors.New("the next session goes on")

// recover publishes from the table what the slot does not bring, and then lets the stream be read.
func (s *session) recover(ctx context.Context) error {
	row := s.held.row
	switch {
	case row.Recovery.IsMarked():
		return s.readBeforeTable(ctx)
	case row.Recovery != nil:
		if err := s.recoverRows(ctx, row); err != nil {
			return err
		}
	}
	s.Health.Enter(health.Streaming)
	s.Log.Info("streaming", "event", "streaming", "slot", s.Slot, "lsn", row.Position.FlushLSN.String(), "epoch", row.Epoch)
	s.intake.begin()
	select {
	case <-ctx.Done():
		return nil
	case <-s.keeper.allayed:
		return errNext
	}
}

// recoverRows publishes the rows of the table, and behind them what the slot brings of the time before the table's snapshot.
func (s *session) recoverRows(ctx context.Context, row *checkpoint.Row) error {
	s.Health.Enter(health.Recovering)
	if err := s.publishTable(ctx, row); err != nil {
		return err
	}
	beside := row.IsBeside()
	if beside {
		s.Log.Info("reading what the slot brings beside the table", "slot", s.Slot,
			"from", row.Position.FlushLSN.String(), "until", row.Recovery.Until.String())
		if err := s.readUntil(ctx, row.Recovery.Until); err != nil {
			return err
		}
	}
	if err := s.awaitDelivered(ctx); err != nil {
		return err
	}
	if err := s.store.FinishRecovery(ctx, s.held.fence); err != nil {
		return err
	}
	s.Log.Info("published everything from the table", "events", s.tracker.Load().Delivered)
	if beside {
		s.brought = s.auditor.brought
		return errNext
	}
	return nil
}

func (s *session) publishTable(ctx context.Context, row *checkpoint.Row) error {
	s.Log.Info("publishing from the table", "event", "recovering", "table", s.tableName(), "from", row.Recovery.From, "to", row.Recovery.To,
		"since", row.Recovery.Since, "after_seq", row.Position.RecoveredSeq)
	progress := newProgress(s.Log)
	reader := recovery.NewReader(s.pool, s.Slot, s.Table)
	published := recovery.NewPublished()
	if passed := row.Position.RecoveredSeq; passed != 0 {
		if err := reader.Passed(ctx, *row.Recovery, passed, published.Add); err != nil {
			return err
		}
	}
	s.intake.published = published
	return reader.Each(ctx, *row.Recovery, row.Position.RecoveredSeq, func(seq int64, e *outbox.Envelope) error {
		if err := s.intake.recovered(ctx, e); err != nil {
			return err
		}
		published.Add(e)
		s.tracker.Recovered(seq)
		progress.passed(seq, s.tracker.Load().Delivered)
		return nil
	})
}

// readBeforeTable reads what the slot keeps, so that the server need not keep it any longer. The next session recovers.
func (s *session) readBeforeTable(ctx context.Context) error {
	s.Health.Enter(health.Recovering)
	until, err := slot.FlushedLSN(ctx, s.pool)
	if err != nil {
		return err
	}
	if err := s.readUntil(ctx, until); err != nil {
		return err
	}
	if err := s.awaitDelivered(ctx); err != nil {
		return err
	}
	return errNext
}

// readUntil lets the stream be read up to a position in the log.
func (s *session) readUntil(ctx context.Context, until pglogrepl.LSN) error {
	s.intake.until = until
	s.intake.begin()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.intake.reached:
		return nil
	}
}

// awaitDelivered waits until everything that was read is delivered.
func (s *session) awaitDelivered(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.tracker.Idle():
		return nil
	}
}

// read reads the stream until ctx ends. Where the server cannot decode a part of the log that lies before the snapshot of a
// recovery, it continues behind that part.
func (s *session) read(ctx context.Context) error {
	if s.held.row.IsBeside() {
		if err := s.holdUnread(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	err := s.held.stream.Run(ctx, s.intake)
	if !errors.Is(err, replication.ErrPublicationMissing) || s.intake.until == 0 {
		return err
	}
	s.Log.Error("the server cannot decode a part of the log, because publication "+s.Publication+" did not exist then: the events of that part are "+
		"published from the table, and those whose rows were deleted are lost", "slot", s.Slot, "until", s.intake.until.String(), "err", err)
	if err := s.restart(ctx, s.intake.until); err != nil {
		return err
	}
	s.intake.reach()
	return s.held.stream.Run(ctx, s.intake)
}

// holdUnread holds the slot until the stream may be read, and then has the server send what is not delivered. The slot is nobody's
// for a moment in between: see [keeper.tick]. A relay that takes it then continues the recovery.
func (s *session) holdUnread(ctx context.Context) error {
	releasing := task.Start(ctx, s.cancelOnceBegun)
	err := s.held.stream.Run(ctx, unread{s.intake.wanted})
	releasing.End()
	if !errors.Is(err, replication.ErrCanceled) {
		return err
	}
	if err := s.restart(ctx, s.held.row.Position.FlushLSN); err != nil {
		return err
	}
	close(s.intake.begun)
	return nil
}

// cancelOnceBegun ends the copy, once the stream may be read, until ctx ends.
func (s *session) cancelOnceBegun(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.intake.wanted:
	}
	for ctx.Err() == nil {
		if err := s.cancelStream(ctx); err != nil {
			s.Log.Warn("restart the stream: trying again", "slot", s.Slot, "err", err)
		}
		task.Sleep(ctx, time.Second)
	}
	return nil
}

// cancelStream is done when it returns: a late cancellation would end the stream that follows.
func (s *session) cancelStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.SenderTimeout)
	defer cancel()
	return slot.Cancel(ctx, s.pool, s.held.fence.PID)
}

func (s *session) restart(ctx context.Context, from pglogrepl.LSN) error {
	ctx, cancel := context.WithTimeout(ctx, s.SenderTimeout)
	defer cancel()
	return s.held.stream.Restart(ctx, from)
}

// unread is a [replication.Handler] of a stream that only holds the slot, until wanted is closed and the copy ends.
type unread struct{ wanted <-chan struct{} }

func (u unread) Ready() bool {
	select {
	case <-u.wanted:
		return true
	default:
		return false
	}
}

func (u unread) Wake() <-chan struct{} { return u.wanted }
func (unread) Flush()                  {}
func (unread) Gather() time.Duration   { return 0 }
func (unread) Keepalive(pglogrepl.LSN) {}

func (unread) WALData(time.Time, []byte) error {
	return errors.New("the server sent a transaction from behind the end of the log")
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
