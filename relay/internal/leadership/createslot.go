package leadership

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
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
func (a *Acquirer) beginRecovery(ctx context.Context, row *checkpoint.Row, state slot.State, fingerprint string) error {
	gap := recovery.Gap(row, state, fingerprint)
	if a.HaltOnSlotLoss {
		return operator.Needed("slot %s cannot bring every event: %s. RELAY_ON_SLOT_LOSS=halt stops the relay here. Start it once with "+
			"RELAY_ON_SLOT_LOSS=recover: it then publishes from table %s what may be missing, and %s",
			a.Slot, gap, a.Table.String(), whatElse(state))
	}
	a.Metrics.GapFound()
	a.Log.Error("the slot cannot bring every event: publishing from the table what may be missing, and "+whatElse(state),
		"event", "gap", "slot", a.Slot, "reason", gap, "horizon", row.Horizon)
	err := a.Store.BeginRecovery(ctx, row.Epoch, row.SystemIdentifier, "", state.IsIntact())
	switch {
	case errors.Is(err, slot.ErrFenced):
		return errRetry
	case err != nil:
		return err
	}
	if err := a.Store.NoteGap(ctx, gap); err != nil { // for relay status alone
		a.Log.Warn("relay status does not show this gap", "slot", a.Slot, "err", err)
	}
	return errRetry
}

// whatElse says what a recovery does with the slot, and what it cannot bring back.
func whatElse(state slot.State) string {
	if state.IsIntact() {
		return "continues with the slot, which brings the rest. Events that the slot does not bring and that were deleted from the table are lost"
	}
	return "creates the slot again. Events that were deleted from the table before they were delivered are lost with the slot"
}

// createFor creates the slot that the row is waiting for, and stores up to where rows have to be read from the table. It is the
// only place where a slot is dropped, and then that slot is one that the server has invalidated.
func (a *Acquirer) createFor(ctx context.Context, stream *replication.Stream, state slot.State) (*Held, error) {
	if state.Active {
		return nil, replication.ErrSlotActive
	}
	if state.Exists {
		if err := slot.Drop(ctx, a.Pool, a.Slot); err != nil {
			return nil, err
		}
		return nil, errRetry
	}
	fingerprint, err := a.beforeSnapshot(ctx)
	if err != nil {
		return nil, err
	}
	version, err := slot.ServerVersion(ctx, a.Pool)
	if err != nil {
		return nil, err
	}
	created, err := a.createSlot(ctx, stream, replication.SlotOptions{Failover: version >= failoverVersion}, nil)
	if err != nil {
		return nil, raced(err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.SenderTimeout)
	defer cancel()
	snapshot, err := slot.ReadSnapshot(ctx, a.Pool, created.Snapshot)
	if err != nil {
		return nil, err
	}
	if err := stream.Start(ctx, created.ConsistentPoint); err != nil {
		return nil, err
	}
	before := time.Now()
	fence, _, err := a.Store.Claim(ctx, stream.PID())
	if err != nil {
		return nil, raced(err)
	}
	if err := a.Store.SetRecoveryEnd(ctx, fence, snapshot, fingerprint, created.ConsistentPoint); err != nil {
		return nil, raced(err)
	}
	a.Log.Info("created the slot", "event", "slot_created", "slot", a.Slot,
		"consistent_point", created.ConsistentPoint.String(), "snapshot", snapshot)
	return a.hold(ctx, stream, fence, before)
}

// beforeSnapshot returns the fingerprint of a publication that streams every row that is written from now on. A snapshot that is
// taken later, once every transaction that runs by then has ended, says which rows the publication may have missed.
func (a *Acquirer) beforeSnapshot(ctx context.Context) (fingerprint string, err error) {
	if err := a.refuseForeignRows(ctx, "relay recover"); err != nil {
		return "", err
	}
	if fingerprint, err = slot.Fingerprint(ctx, a.Pool, a.publication()); err != nil {
		return "", err
	}
	if fingerprint == "" {
		return "", fmt.Errorf("publication %s does not stream every row of %s, relay check says why: it should be as CREATE PUBLICATION %s "+
			"FOR TABLE %s WITH (publish = 'insert', publish_via_partition_root = true) makes it",
			a.Publication, a.Table.String(), a.Publication, a.Table.String())
	}
	return fingerprint, nil
}

// createSlot creates a slot, and says which transactions hold it up while they do. Whenever they do, mayWait decides whether
// to go on; nil always does.
func (a *Acquirer) createSlot(ctx context.Context, stream *replication.Stream, o replication.SlotOptions,
	mayWait func(context.Context) error,
) (replication.NewSlot, error) {
	o.LockTimeout = slotLockTimeout
	for {
		created, err := a.createWatched(ctx, stream, o)
		if !errors.Is(err, replication.ErrSlotBlocked) {
			return created, err
		}
		if err := a.warnOfBlockers(ctx); err != nil {
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

func (a *Acquirer) warnOfBlockers(ctx context.Context) error {
	blockers, err := slot.Blockers(ctx, a.Pool)
	if err != nil {
		return err
	}
	a.Health.Failed(fmt.Errorf("a snapshot for slot %s waits for every transaction that runs in the cluster: end these: %s",
		a.Slot, strings.Join(blockers, "; ")))
	a.Log.Warn("a snapshot of the log waits for every transaction that runs in the cluster: end these to go on",
		"slot", a.Slot, "blockers", strings.Join(blockers, "; "))
	return nil
}

// createWatched creates a slot for as long as the server is seen at work on it. That may take long, and a connection that was
// cut off in silence looks the same from this side.
func (a *Acquirer) createWatched(ctx context.Context, stream *replication.Stream, o replication.SlotOptions) (replication.NewSlot, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := task.Start(ctx, func(ctx context.Context) error {
		cancel(a.watchSender(ctx, stream.PID()))
		return nil
	})
	defer watching.End()
	created, err := stream.CreateSlot(ctx, o)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("create slot %s: %w", a.Slot, cause)
	}
	return created, err
}

// watchSender returns an error when the walsender of this process is at rest, or gone, in two looks: then its answer, or what it
// was asked, is lost.
func (a *Acquirer) watchSender(ctx context.Context, pid uint32) error {
	for atRest := 0; atRest < 2; {
		if task.Sleep(ctx, a.SenderTimeout/2); ctx.Err() != nil {
			return ctx.Err()
		}
		working, err := a.isWorking(ctx, pid)
		if err != nil {
			return err
		}
		if a.Health.Alive(); working {
			atRest = 0
			continue
		}
		atRest++
	}
	return replication.ErrSilent
}

func (a *Acquirer) isWorking(ctx context.Context, pid uint32) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, a.SenderTimeout)
	defer cancel()
	return slot.IsWorking(ctx, a.Pool, pid)
}
