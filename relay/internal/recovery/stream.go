package recovery

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

// Read reads the stream until ctx ends, with or without a recovery. [Worker.Run] reads the table.
// If the server cannot decode a part of the log that precedes the snapshot of a recovery, Read
// continues behind that part.
func (w *Worker) Read(ctx context.Context) error {
	if w.Row.IsInPlace() {
		if err := w.holdUnread(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	err := w.Stream.Run(ctx, w.Handler)
	if !errors.Is(err, replication.ErrUndecodable) || w.Handler.Until() == 0 {
		return err
	}
	w.Log.Error("the server cannot decode a part of the log: the relay publishes the events of that part from the "+
		"table, and "+w.lostWithLog()+" are lost",
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

// holdUnread holds the slot until the stream should be read, and then restarts the stream at the
// first undelivered position. The restart frees the slot for a moment. Another relay that acquires
// it then continues this recovery.
func (w *Worker) holdUnread(ctx context.Context) error {
	releasing := task.Start(ctx, w.cancelOnceWanted)
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

// cancelOnceWanted cancels the COPY of the walsender once the stream should be read, and repeats
// that until ctx ends.
func (w *Worker) cancelOnceWanted(ctx context.Context) error {
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
