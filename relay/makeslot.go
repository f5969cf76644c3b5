package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// slotLockTimeout bounds each attempt to make a slot, which waits for every running transaction of the cluster.
	slotLockTimeout = 10 * time.Second
	// failoverVersion is the first that synchronises slots to standbys.
	failoverVersion = 17
)

// beginRecovery notes that the slot does not bring every event, so that the next rounds find out which rows of the table to
// publish, and create the slot where it is gone.
func (r *relay) beginRecovery(ctx context.Context, row *checkpoint.Row, state slot.State, fingerprint string) error {
	gap := recovery.Gap(row, state, fingerprint)
	if r.HaltOnSlotLoss {
		return refuse("slot %s cannot bring every event: %s. RELAY_ON_SLOT_LOSS=halt stops the relay here. Start it once with "+
			"RELAY_ON_SLOT_LOSS=recover: it then publishes from table %s what may be missing, and %s",
			r.Slot, gap, r.tableName(), whatElse(state))
	}
	r.Metrics.GapFound()
	r.Log.Error("the slot cannot bring every event: publishing from the table what may be missing, and "+whatElse(state),
		"event", "gap", "slot", r.Slot, "reason", gap, "horizon", row.Horizon)
	err := r.store.BeginRecovery(ctx, row.Epoch, row.SystemIdentifier, "", state.IsIntact())
	switch {
	case errors.Is(err, slot.ErrFenced):
		return errAgain
	case err != nil:
		return err
	}
	if err := r.store.NoteGap(ctx, gap); err != nil { // for relay status alone
		r.Log.Warn("relay status does not show this gap", "slot", r.Slot, "err", err)
	}
	return errAgain
}

// whatElse says what a recovery does with the slot, and what it cannot bring back.
func whatElse(state slot.State) string {
	if state.IsIntact() {
		return "continues with the slot, which brings the rest. Events that the slot does not bring and that were deleted from the table are lost"
	}
	return "creates the slot again. Events that were deleted from the table before they were delivered are lost with the slot"
}

// makeSlot creates the slot that the row is waiting for, and stores up to where rows have to be read from the table. It is the
// only place where a slot is dropped, and then that slot is one that the server has invalidated.
func (r *relay) makeSlot(ctx context.Context, stream *replication.Stream, state slot.State) (*held, error) {
	if state.Active {
		return nil, replication.ErrSlotActive
	}
	if state.Exists {
		if err := slot.Drop(ctx, r.pool, r.Slot); err != nil {
			return nil, err
		}
		return nil, errAgain
	}
	fingerprint, err := r.beforeSnapshot(ctx)
	if err != nil {
		return nil, err
	}
	version, err := slot.ServerVersion(ctx, r.pool)
	if err != nil {
		return nil, err
	}
	created, err := r.createSlot(ctx, stream, replication.SlotOptions{Failover: version >= failoverVersion}, nil)
	if err != nil {
		return nil, again(err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	snapshot, err := slot.ReadSnapshot(ctx, r.pool, created.Snapshot)
	if err != nil {
		return nil, err
	}
	if err := stream.Start(ctx, created.ConsistentPoint); err != nil {
		return nil, err
	}
	before := time.Now()
	fence, _, err := r.store.Claim(ctx, stream.PID())
	if err != nil {
		return nil, again(err)
	}
	if err := r.store.SetRecoveryEnd(ctx, fence, snapshot, fingerprint, created.ConsistentPoint); err != nil {
		return nil, again(err)
	}
	r.Log.Info("created the slot", "event", "slot_created", "slot", r.Slot,
		"consistent_point", created.ConsistentPoint.String(), "snapshot", snapshot)
	return r.hold(ctx, stream, fence, before)
}

// beforeSnapshot returns the fingerprint of a publication that streams every row that is written from now on. A snapshot that is
// taken later, once every transaction that runs by then has ended, says which rows the publication may have missed.
func (r *relay) beforeSnapshot(ctx context.Context) (fingerprint string, err error) {
	if err := r.refuseForeignRows(ctx, "relay recover"); err != nil {
		return "", err
	}
	if fingerprint, err = slot.Fingerprint(ctx, r.pool, r.publication()); err != nil {
		return "", err
	}
	if fingerprint == "" {
		return "", fmt.Errorf("publication %s does not stream every row of %s, relay check says why: it should be as CREATE PUBLICATION %s "+
			"FOR TABLE %s WITH (publish = 'insert', publish_via_partition_root = true) makes it",
			r.Publication, r.tableName(), r.Publication, r.tableName())
	}
	return fingerprint, nil
}

// createSlot creates a slot, and says which transactions hold it up while they do. Whenever they do, mayWait decides whether
// to go on; nil always does.
func (r *relay) createSlot(ctx context.Context, stream *replication.Stream, o replication.SlotOptions,
	mayWait func(context.Context) error,
) (replication.NewSlot, error) {
	o.LockTimeout = slotLockTimeout
	for {
		created, err := r.createWatched(ctx, stream, o)
		if !errors.Is(err, replication.ErrSlotBlocked) {
			return created, err
		}
		if err := r.warnOfBlockers(ctx); err != nil {
			return created, err
		}
		if mayWait == nil {
			continue
		}
		if err := mayWait(ctx); err != nil {
			return created, err
		}
	}
}

func (r *relay) warnOfBlockers(ctx context.Context) error {
	blockers, err := slot.Blockers(ctx, r.pool)
	if err != nil {
		return err
	}
	r.Health.Failed(fmt.Errorf("a snapshot for slot %s waits for every transaction that runs in the cluster: end these: %s",
		r.Slot, strings.Join(blockers, "; ")))
	r.Log.Warn("a snapshot of the log waits for every transaction that runs in the cluster: end these to go on",
		"slot", r.Slot, "blockers", strings.Join(blockers, "; "))
	return nil
}

// createWatched creates a slot for as long as the server is seen at work on it. That may take long, and a connection that was
// cut off in silence looks the same from this side.
func (r *relay) createWatched(ctx context.Context, stream *replication.Stream, o replication.SlotOptions) (replication.NewSlot, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := task.Start(ctx, func(ctx context.Context) error {
		cancel(r.watchSender(ctx, stream.PID()))
		return nil
	})
	defer watching.End()
	created, err := stream.CreateSlot(ctx, o)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("create slot %s: %w", r.Slot, cause)
	}
	return created, err
}

// watchSender returns an error when the walsender of this process is at rest, or gone, in two looks: then its answer, or what it
// was asked, is lost.
func (r *relay) watchSender(ctx context.Context, pid uint32) error {
	for atRest := 0; atRest < 2; {
		if task.Sleep(ctx, r.SenderTimeout/2); ctx.Err() != nil {
			return ctx.Err()
		}
		working, err := r.isWorking(ctx, pid)
		if err != nil {
			return err
		}
		if r.Health.Alive(); working {
			atRest = 0
			continue
		}
		atRest++
	}
	return replication.ErrSilent
}

func (r *relay) isWorking(ctx context.Context, pid uint32) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	return slot.IsWorking(ctx, r.pool, pid)
}
