package leadership

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

// endsInterval is the pause between two checks whether the transactions have ended.
const endsInterval = 100 * time.Millisecond

// errEndangered means that the server may invalidate the slot before a snapshot can be taken.
var errEndangered = errors.New("the server may invalidate the slot before a snapshot is taken")

// point is a snapshot and its position in the log. Every transaction that the snapshot shows
// commits before until, and no other transaction does.
type point struct {
	snapshot string
	until    pglogrepl.LSN
}

// recoverInPlace takes a snapshot beside an intact slot, and stores it as the end of the rows to
// read from the table. It neither holds nor changes the slot, because the slot may have events
// whose rows were deleted.
func (a *Acquirer) recoverInPlace(
	ctx context.Context, stream *replication.Stream, row *checkpoint.Row, state slot.State,
) (*HeldSlot, error) {
	if state.Active {
		return nil, replication.ErrSlotActive
	}
	fingerprint, err := a.beforeSnapshot(ctx)
	if err != nil {
		return nil, err
	}
	taken, err := a.takePoint(ctx, stream)
	if errors.Is(err, errEndangered) {
		return a.acquireMarked(ctx, stream, row, state)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.SenderTimeout)
	defer cancel()
	if err := a.Store.SetRecoveryUntil(ctx, row.Epoch, taken.snapshot, fingerprint, taken.until); err != nil {
		return nil, raced(err)
	}
	a.Log.Info("took a snapshot beside the slot", "event", "snapshot_taken", "slot", a.Slot,
		"until", taken.until.String(), "snapshot", taken.snapshot)
	return nil, errRetry
}

// takePoint takes the snapshot of a temporary slot, which ends with the connection of stream. If
// the server has no room for another slot, takePoint waits for the running transactions itself.
func (a *Acquirer) takePoint(ctx context.Context, stream *replication.Stream) (point, error) {
	created, err := a.createSlot(ctx, stream, replication.SlotOptions{Temporary: true}, a.mayWait)
	if errors.Is(err, replication.ErrNoSlotFree) {
		a.Log.Info("no temporary slot, because max_replication_slots is reached: waiting for the running "+
			"transactions instead",
			"event", "no_temporary_slot", "slot", a.Slot)
		return a.takePointOfXID(ctx)
	}
	if err != nil {
		return point{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.SenderTimeout)
	defer cancel()
	snapshot, err := slot.ReadSnapshot(ctx, a.Pool, created.Snapshot)
	return point{snapshot, created.ConsistentPoint}, err
}

// takePointOfXID takes a point without a slot. It waits until every running transaction has ended.
// A transaction that commits later began under the current publication, so the slot brings it. The
// snapshot also shows some of these transactions, and the slot brings them again from until on, so
// their events arrive twice.
func (a *Acquirer) takePointOfXID(ctx context.Context) (point, error) {
	_, until, err := a.awaitEnds(ctx)
	if err != nil {
		return point{}, err
	}
	last, _, err := a.awaitEnds(ctx)
	return point{slot.UpTo(last), until}, err
}

// awaitEnds waits until every transaction that runs now has ended, in all databases of the cluster.
// It returns the last transaction id that is assigned now, and a log position after those ends.
func (a *Acquirer) awaitEnds(ctx context.Context) (last uint64, after pglogrepl.LSN, err error) {
	if last, err = slot.NextXID(ctx, a.Pool); err != nil {
		return 0, 0, err
	}
	for warned := time.Now(); ctx.Err() == nil; task.Sleep(ctx, endsInterval) {
		ended, after, err := slot.HaveEnded(ctx, a.Pool, last)
		if err != nil || ended {
			return last, after, err
		}
		if time.Since(warned) < slotLockTimeout {
			continue
		}
		warned = time.Now()
		if err := errors.Join(a.warnOfBlockers(ctx), a.mayWait(ctx)); err != nil {
			return 0, 0, err
		}
	}
	return 0, 0, ctx.Err()
}

// mayWait returns [errEndangered] once the server may invalidate the slot. The server retains the
// log of a slot that no walsender reads, up to its limits.
func (a *Acquirer) mayWait(ctx context.Context) error {
	state, err := slot.LookUp(ctx, a.Pool, a.Slot)
	if err == nil && state.IsEndangered() {
		return errEndangered
	}
	return err
}

// acquireMarked acquires a slot whose recovery is only marked, to deliver its events before the
// server invalidates it.
func (a *Acquirer) acquireMarked(
	ctx context.Context, stream *replication.Stream, seen *checkpoint.Row, state slot.State,
) (*HeldSlot, error) {
	ctx, cancel := context.WithTimeout(ctx, a.SenderTimeout)
	defer cancel()
	if err := stream.Start(ctx, seen.Position.FlushLSN); err != nil {
		return nil, err
	}
	before := time.Now()
	fence, row, err := a.Store.Claim(ctx, stream.PID())
	if err != nil {
		return nil, raced(err)
	}
	if !row.Recovery.IsMarked() || row.Position.FlushLSN < seen.Position.FlushLSN {
		return nil, errRetry
	}
	// Later the position no longer shows the gap.
	if state.ConfirmedFlushLSN > row.Position.FlushLSN {
		if err := a.Store.SetEventsMissing(ctx, fence); err != nil {
			return nil, raced(err)
		}
	}
	a.Log.Warn("reading the slot before the table, because the server may invalidate the slot before a snapshot is "+
		"taken: events that the slot does not bring arrive after later events of their aggregate",
		"event", "slot_read_first", "slot", a.Slot, "safe_wal_size", state.SafeWALSize)
	h, err := a.held(ctx, stream, fence, before)
	if err == nil {
		h.Row.Position.FlushLSN = max(h.Row.Position.FlushLSN, state.ConfirmedFlushLSN)
	}
	return h, err
}
