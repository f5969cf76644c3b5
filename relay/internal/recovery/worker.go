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
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
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
	Publication    string
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
	reader.await = w.Handler.AwaitRoom // a page may be a row of many MB
	published := NewPublished()
	if passed := row.Position.RecoveredSeq; passed != 0 {
		if err := reader.Passed(ctx, *row.Recovery, passed, published.Add); err != nil {
			return err
		}
	}
	w.Handler.SkipPublished(published)
	whole := wholeSeqs{recovered: w.Tracker.Recovered}
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
	whole.end()
	return nil
}

// wholeSeqs tells the Tracker that a seq is recovered once every row of that seq was opened. Rows
// of different partitions may have the same seq, and a recovery continues behind the one that the
// checkpoint row names.
type wholeSeqs struct {
	recovered func(seq int64)
	last      int64
	any       bool
}

// next takes the seq of a row before it is opened.
func (w *wholeSeqs) next(seq int64) {
	if w.any && seq != w.last {
		w.recovered(w.last)
	}
	w.last, w.any = seq, true
}

// end is called when no row follows.
func (w *wholeSeqs) end() {
	if w.any {
		w.recovered(w.last)
	}
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

// Read reads the stream until ctx ends. If the server cannot decode a part of the log that precedes
// the snapshot of a recovery, Read continues behind that part.
func (w *Worker) Read(ctx context.Context) error {
	if w.Row.IsInPlace() {
		if err := w.holdUnread(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	err := w.Stream.Run(ctx, w.Handler)
	if !errors.Is(err, replication.ErrPublicationMissing) || w.Handler.Until() == 0 {
		return err
	}
	w.Log.Error("the server cannot decode a part of the log, because publication "+w.Publication+" did not exist "+
		"then: the relay publishes the events of that part from the table, and "+w.lostWithLog()+" are lost",
		"event", "log_undecodable", "slot", w.Fence.Slot, "until", w.Handler.Until().String(), "err", err)
	if err := w.restart(ctx, w.Handler.Until()); err != nil {
		return err
	}
	w.Handler.Reach()
	return w.Stream.Run(ctx, w.Handler)
}

// lostWithLog names the events that are only in the log.
func (w *Worker) lostWithLog() string {
	if w.Emitted == "" {
		return "those whose rows were deleted"
	}
	return "those whose rows were deleted, and messages with the prefix " + w.Emitted + ","
}

// holdUnread holds the slot until the stream may be read, and then restarts the stream at the first
// undelivered position. The restart frees the slot for a moment. Another relay that acquires it
// then continues this recovery.
func (w *Worker) holdUnread(ctx context.Context) error {
	releasing := task.Start(ctx, w.cancelOnceBegun)
	err := w.Stream.Run(ctx, unread{w.Handler.Wanted()})
	releasing.End()
	if !errors.Is(err, replication.ErrCanceled) {
		return err
	}
	if err := w.restart(ctx, w.Row.Position.FlushLSN); err != nil {
		return err
	}
	w.Handler.Restarted()
	return nil
}

// cancelOnceBegun cancels the copy once the stream may be read, and repeats that until ctx ends.
func (w *Worker) cancelOnceBegun(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-w.Handler.Wanted():
	}
	for ctx.Err() == nil {
		if err := w.cancelStream(ctx); err != nil {
			w.Log.Warn("restart the stream: trying again", "slot", w.Fence.Slot, "err", err)
		}
		task.Sleep(ctx, time.Second)
	}
	return nil
}

// cancelStream outlives ctx, because a cancellation that arrives late would end the following
// stream.
func (w *Worker) cancelStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.Timeout)
	defer cancel()
	return slot.Cancel(ctx, w.Pool, w.Fence.PID)
}

func (w *Worker) restart(ctx context.Context, from pglogrepl.LSN) error {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	return w.Stream.Restart(ctx, from)
}

// unread is a [replication.Handler] of a stream that only holds the slot, until wanted is closed
// and the copy ends.
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
	return errors.New("the server sent a transaction on a stream that only holds the slot")
}

// progressInterval is the time between two log lines about a long recovery.
const progressInterval = 5 * time.Second

// progress logs how far a recovery has come.
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
