package recovery

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/ingest"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// ErrNext means that a part of a recovery is done, or that a suspicion is disproved. The next
// session continues, on a connection whose walsender has no knowledge of the former publication.
var ErrNext = errors.New("the next session continues")

// Worker publishes from the table the rows that the slot does not bring, and reads the stream.
type Worker struct {
	Pool           *pgxpool.Pool
	Store          *checkpoint.Store
	Fence          slot.Fence
	Row            *checkpoint.Row // the row that the session found
	Table          outboxtable.Table
	Emitted        string // prefix of emitted messages that are events; empty: none are
	Stream         *replication.Stream
	Handler        *ingest.Handler
	Tracker        *checkpoint.Tracker
	SuspicionEnded <-chan struct{} // closed when the session has to end although nothing failed
	Timeout        time.Duration   // wal_sender_timeout of the stream
	Health         *health.Health
	Log            *slog.Logger

	// KeepsBrought reports, after Run has returned, that the next session needs the list of rows
	// that this session read.
	KeepsBrought bool
}

// Run publishes the rows that the slot does not bring, and then lets the stream begin.
func (w *Worker) Run(ctx context.Context) error {
	row := w.Row
	switch {
	case row.Recovery.IsMarked():
		return w.readBeforeTable(ctx)
	case row.Recovery != nil:
		if err := w.recoverRows(ctx, row); err != nil {
			return err
		}
	}
	w.Health.Enter(health.Streaming)
	w.Log.Info("streaming", "event", "streaming", "slot", w.Fence.Slot,
		"lsn", row.Position.FlushLSN.String(), "epoch", row.Epoch)
	w.Handler.Begin()
	select {
	case <-ctx.Done():
		return nil
	case <-w.SuspicionEnded:
		return ErrNext
	}
}

// recoverRows publishes the rows of the table, and then the slot's transactions that precede the
// table's snapshot.
func (w *Worker) recoverRows(ctx context.Context, row *checkpoint.Row) error {
	w.Health.Enter(health.Recovering)
	if row.Recovery.ReadsTable() {
		if err := w.publishTable(ctx, row); err != nil {
			return err
		}
	}
	inPlace := row.IsInPlace()
	if inPlace {
		w.Log.Info("reading the slot up to the snapshot of the table", "slot", w.Fence.Slot,
			"from", row.Position.FlushLSN.String(), "until", row.Recovery.Until.String())
		if err := w.readUntil(ctx, row.Recovery.Until); err != nil {
			return err
		}
	}
	if err := w.awaitDelivered(ctx); err != nil {
		return err
	}
	if err := w.Store.FinishRecovery(ctx, w.Fence); err != nil {
		return err
	}
	w.logFinished(row)
	if inPlace {
		w.KeepsBrought = true
		return ErrNext
	}
	return nil
}

func (w *Worker) logFinished(row *checkpoint.Row) {
	switch {
	case !row.Recovery.ReadsTable() && row.Horizon == "": // no recovery of the slot has finished before
		w.Log.Info("first start: events that were committed before the slot was created are not delivered "+
			"(RELAY_START=now)", "event", "first_start", "slot", w.Fence.Slot, "flush_lsn",
			row.Position.FlushLSN.String())
		return
	case !row.Recovery.ReadsTable():
		w.Log.Warn("published nothing from the table: events that the slot does not bring are not delivered",
			"event", "loss_accepted", "slot", w.Fence.Slot, "flush_lsn", row.Position.FlushLSN.String())
		return
	}
	w.Log.Info("published everything from the table", "event", "recovered", "slot", w.Fence.Slot,
		"events", w.Tracker.Load().Delivered)
}

func (w *Worker) publishTable(ctx context.Context, row *checkpoint.Row) error {
	w.Log.Info("publishing from the table", "event", "recovering", "table", w.Table.String(),
		"from", row.Recovery.From, "to", row.Recovery.To, "since", row.Recovery.Since,
		"after_seq", row.Position.RecoveredSeq)
	progress := newProgress(w.Log)
	reader := NewReader(w.Pool, w.Fence.Slot, w.Table)
	published := NewPublished()
	if passed := row.Position.RecoveredSeq; passed != 0 {
		if err := reader.Passed(ctx, *row.Recovery, passed, published.Add); err != nil {
			return err
		}
	}
	w.Handler.SkipPublished(published)
	whole := wholeSeqs{recovered: w.Tracker.Recovered}
	reader.await = whole.beforePage(w.Handler.AwaitRoom) // a page may be a row of many MB
	err := reader.Each(ctx, *row.Recovery, row.Position.RecoveredSeq, func(seq int64, e *outbox.Envelope) error {
		whole.next(seq)
		if err := w.Handler.Recovered(ctx, e); err != nil {
			return err
		}
		published.Add(e)
		progress.passed(seq, w.Tracker.Load().Delivered)
		return nil
	})
	if err != nil {
		return err
	}
	return nil
}

// readBeforeTable delivers the log that the slot holds, so that the server need not keep it. The
// next session recovers.
func (w *Worker) readBeforeTable(ctx context.Context) error {
	w.Health.Enter(health.Recovering)
	until, err := slot.FlushedLSN(ctx, w.Pool)
	if err != nil {
		return err
	}
	if err := w.readUntil(ctx, until); err != nil {
		return err
	}
	if err := w.awaitDelivered(ctx); err != nil {
		return err
	}
	return ErrNext
}

func (w *Worker) readUntil(ctx context.Context, until pglogrepl.LSN) error {
	w.Handler.ReadUntil(until)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.Handler.Reached():
		return nil
	}
}

func (w *Worker) awaitDelivered(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.Tracker.Idle():
		return nil
	}
}
