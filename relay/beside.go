package relay

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

// errEndangered says that the server may invalidate the slot before a snapshot can be taken.
var errEndangered = errors.New("the server may invalidate the slot before a snapshot is taken")

// point is a snapshot and its position in the log: what is visible in the snapshot commits before until, and nothing else does.
type point struct {
	snapshot string
	until    pglogrepl.LSN
}

// beside finds out, beside a slot that is intact, up to where rows have to be read from the table, and stores it. The slot is
// neither held nor touched: it may hold events whose rows were deleted.
func (r *relay) beside(ctx context.Context, stream *replication.Stream, row *checkpoint.Row, state slot.State) (*held, error) {
	if state.Active {
		return nil, replication.ErrSlotActive
	}
	fingerprint, err := r.beforeSnapshot(ctx)
	if err != nil {
		return nil, err
	}
	taken, err := r.takePoint(ctx, stream)
	if errors.Is(err, errEndangered) {
		return r.holdMarked(ctx, stream, row, state)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	if err := r.store.SetRecoveryUntil(ctx, row.Epoch, taken.snapshot, fingerprint, taken.until); err != nil {
		return nil, again(err)
	}
	r.Log.Info("took a snapshot beside the slot", "event", "snapshot_taken", "slot", r.Slot,
		"until", taken.until.String(), "snapshot", taken.snapshot)
	return nil, errAgain
}

// takePoint takes the snapshot of a temporary slot, which is gone with the connection of stream. Where the server has no place
// for another slot it waits for transactions itself.
func (r *relay) takePoint(ctx context.Context, stream *replication.Stream) (point, error) {
	created, err := r.createSlot(ctx, stream, replication.SlotOptions{Temporary: true}, r.mayWait)
	if errors.Is(err, replication.ErrNoSlotFree) {
		r.Log.Info("no place for a temporary slot: max_replication_slots is reached. Waiting for the running transactions instead", "slot", r.Slot)
		return r.takePointOfXID(ctx)
	}
	if err != nil {
		return point{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	snapshot, err := slot.ReadSnapshot(ctx, r.pool, created.Snapshot)
	return point{snapshot, created.ConsistentPoint}, err
}

// takePointOfXID takes a point without a slot. Once every transaction that was running has ended, each one that commits from then on
// began under the publication as it is, so that the slot brings it. The snapshot shows some of these too, and the slot brings
// them from until on: they come twice.
func (r *relay) takePointOfXID(ctx context.Context) (point, error) {
	_, until, err := r.awaitEnds(ctx)
	if err != nil {
		return point{}, err
	}
	last, _, err := r.awaitEnds(ctx)
	return point{slot.UpTo(last), until}, err
}

// awaitEnds waits until every transaction has ended that runs now, in any database of the cluster. It returns the last
// transaction id of now, and a position in the log that comes after the ends.
func (r *relay) awaitEnds(ctx context.Context) (last uint64, after pglogrepl.LSN, err error) {
	if last, err = slot.NextXID(ctx, r.pool); err != nil {
		return 0, 0, err
	}
	for warned := time.Now(); ctx.Err() == nil; task.Sleep(ctx, auditInterval) {
		ended, after, err := slot.HaveEnded(ctx, r.pool, last)
		if err != nil || ended {
			return last, after, err
		}
		if time.Since(warned) < slotLockTimeout {
			continue
		}
		warned = time.Now()
		if err := errors.Join(r.warnOfBlockers(ctx), r.mayWait(ctx)); err != nil {
			return 0, 0, err
		}
	}
	return 0, 0, ctx.Err()
}

// mayWait returns [errEndangered] once the server may invalidate the slot: it keeps the log for as long as nobody reads it.
func (r *relay) mayWait(ctx context.Context) error {
	state, err := slot.LookUp(ctx, r.pool, r.Slot)
	if err == nil && state.IsEndangered() {
		return errEndangered
	}
	return err
}

// holdMarked takes a slot whose recovery is only marked, to read what it keeps before the server invalidates it.
func (r *relay) holdMarked(ctx context.Context, stream *replication.Stream, seen *checkpoint.Row, state slot.State) (*held, error) {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	if err := stream.Start(ctx, seen.Position.FlushLSN); err != nil {
		return nil, err
	}
	before := time.Now()
	fence, row, err := r.store.Claim(ctx, stream.PID())
	if err != nil {
		return nil, again(err)
	}
	if !row.Recovery.IsMarked() || row.Position.FlushLSN < seen.Position.FlushLSN {
		return nil, errAgain
	}
	if state.ConfirmedFlushLSN > row.Position.FlushLSN { // the position will no longer show it
		if err := r.store.SetEventsMissing(ctx, fence); err != nil {
			return nil, again(err)
		}
	}
	r.Log.Warn("reading the slot before the table, because the server may invalidate it before a snapshot is taken: what the slot does "+
		"not bring arrives after later events of its aggregate", "slot", r.Slot, "safe_wal_size", state.SafeWALSize)
	h, err := r.hold(ctx, stream, fence, before)
	if err == nil {
		h.row.Position.FlushLSN = max(h.row.Position.FlushLSN, state.ConfirmedFlushLSN)
	}
	return h, err
}
