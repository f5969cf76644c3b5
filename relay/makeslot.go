package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

const (
	// slotLockTimeout bounds each attempt to make a slot, which waits for every running transaction of the cluster.
	slotLockTimeout = 10 * time.Second
	// failoverVersion is the first that synchronises slots to standbys.
	failoverVersion = 17
)

// beginRecovery notes that the slot may not bring every event, so that the next rounds make it again.
func (r *relay) beginRecovery(ctx context.Context, row *checkpoint.Row, gap string) error {
	if r.HaltOnSlotLoss {
		return refuse("slot %s cannot bring every event: %s. RELAY_ON_SLOT_LOSS=halt stops the relay here. Nothing is lost: "+
			"start it once with RELAY_ON_SLOT_LOSS=recover to publish from table %s what may be missing, and to go on with a new slot",
			r.Slot, gap, r.tableName())
	}
	r.Metrics.GapFound()
	r.Log.Error("the slot cannot bring every event: publishing from the table what may be missing, then streaming from a new slot",
		"slot", r.Slot, "reason", gap, "horizon", row.Horizon)
	if err := r.store.BeginRecovery(ctx, row.Epoch, row.SystemIdentifier, ""); err != nil && !errors.Is(err, slot.ErrFenced) {
		return err
	}
	return errAgain
}

// makeSlot makes the slot that the row is waiting for, and stores up to where rows have to be read from the table.
func (r *relay) makeSlot(ctx context.Context, stream *replication.Stream, row *checkpoint.Row, state slot.State) (*held, error) {
	if state.Active {
		return nil, replication.ErrSlotActive
	}
	if state.Exists { // left behind by a relay that died before it stored anything about it
		if err := slot.Drop(ctx, r.pool, r.Slot); err != nil {
			return nil, err
		}
		return nil, errAgain
	}
	if err := r.refuseForeignRows(ctx, "relay recover"); err != nil {
		return nil, err
	}
	fingerprint, err := slot.Fingerprint(ctx, r.pool, r.publication())
	if err != nil {
		return nil, err
	}
	if fingerprint == "" { // a slot that is older than its publication cannot be read
		return nil, fmt.Errorf("publication %s does not stream every row of %s, relay check says why: it should be as CREATE PUBLICATION %s "+
			"FOR TABLE %s WITH (publish = 'insert', publish_via_partition_root = true) makes it",
			r.Publication, r.tableName(), r.Publication, r.tableName())
	}
	created, err := r.createSlot(ctx, stream)
	if err != nil {
		return nil, again(err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	snapshot, err := slot.ReadSnapshot(ctx, r.pool, created.Snapshot)
	if err != nil {
		return nil, err
	}
	if err := stream.Start(ctx); err != nil {
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
	r.Log.Info("made the slot", "slot", r.Slot, "consistent_point", created.ConsistentPoint.String(), "snapshot", snapshot)
	return r.hold(ctx, stream, fence, before)
}

// createSlot says who holds it up, while somebody does.
func (r *relay) createSlot(ctx context.Context, stream *replication.Stream) (replication.NewSlot, error) {
	version, err := slot.ServerVersion(ctx, r.pool)
	if err != nil {
		return replication.NewSlot{}, err
	}
	for {
		created, err := r.createWatched(ctx, stream, version >= failoverVersion)
		if !errors.Is(err, replication.ErrSlotBlocked) {
			return created, err
		}
		blockers, err := slot.Blockers(ctx, r.pool)
		if err != nil {
			return created, err
		}
		r.Health.Failed(fmt.Errorf("creating slot %s waits for every transaction that runs in the cluster: end these: %s",
			r.Slot, strings.Join(blockers, "; ")))
		r.Log.Warn("making the slot waits for every transaction that runs in the cluster: end these to go on",
			"slot", r.Slot, "blockers", strings.Join(blockers, "; "))
	}
}

// createWatched makes the slot for as long as the server is seen at work on it. That may take long, and a connection that was
// cut off in silence looks the same from this side.
func (r *relay) createWatched(ctx context.Context, stream *replication.Stream, failover bool) (replication.NewSlot, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := start(ctx, func(ctx context.Context) error {
		cancel(r.watchSender(ctx, stream.PID()))
		return nil
	})
	defer watching.end()
	created, err := stream.CreateSlot(ctx, failover, slotLockTimeout)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("create slot %s: %w", r.Slot, cause)
	}
	return created, err
}

// watchSender returns an error when the walsender of this process is at rest, or gone, in two looks: then its answer, or what it
// was asked, is lost.
func (r *relay) watchSender(ctx context.Context, pid uint32) error {
	for atRest := 0; atRest < 2; {
		if sleep(ctx, r.SenderTimeout/2); ctx.Err() != nil {
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
