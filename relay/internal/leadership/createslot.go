package leadership

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// slotLockTimeout bounds each attempt to create a slot. The creation waits for every running
	// transaction of the cluster.
	slotLockTimeout = 10 * time.Second
	// failoverVersion is the first version that synchronises slots to standbys.
	failoverVersion = 17
)

// beginRecovery marks the row, because the slot does not bring every event. The next rounds
// determine which rows of the table to publish, and create the slot if it is gone. The text gap
// says why.
func (a *Acquirer) beginRecovery(ctx context.Context, row *checkpoint.Row, state slot.State, gap string) error {
	if err := a.refuseGap(row, state, gap); err != nil {
		return err
	}
	a.Metrics.GapFound()
	a.Log.Error("the slot cannot bring every event: the relay publishes from the table those that may be missing, and "+
		effectOf(state),
		"event", "gap", "slot", a.Slot, "reason", gap, "horizon", row.Horizon)
	err := a.Store.BeginRecovery(ctx, row.Epoch, row.SystemIdentifier, "", state.IsIntact())
	switch {
	case errors.Is(err, slot.ErrFenced):
		return errRetry
	case err != nil:
		return err
	}
	if err := a.Store.NoteGap(ctx, gap); err != nil { // only relay status shows it
		a.Log.Warn("relay status does not show this gap", "slot", a.Slot, "err", err)
	}
	return errRetry
}

// refuseGap returns the [*operator.NeededError] with which the relay ends at a gap, or nil if the
// relay publishes from the table the events that may be missing.
func (a *Acquirer) refuseGap(row *checkpoint.Row, state slot.State, gap string) error {
	switch {
	case gap == "":
		return nil
	case !a.Table.IsRepairable():
		return a.unrepairable(row, state, gap)
	case a.Emitted != "" && (a.Undecodable != nil || recovery.LosesLog(row, state)):
		return a.messagesLost(row, state, gap)
	case a.HaltOnSlotLoss:
		return operator.Needed("slot %s cannot bring every event: %s. RELAY_ON_SLOT_LOSS=halt stops the relay here. "+
			"Run relay recover, which shows the situation. With --yes, the relay that you start then publishes from "+
			"table %s the events that may be missing, and %s",
			a.Slot, gap, a.Table.String(), effectOf(state))
	}
	return nil
}

// unrepairable is the end of a relay at a gap whose events the table does not show.
func (a *Acquirer) unrepairable(row *checkpoint.Row, state slot.State, gap string) error {
	return operator.Needed("slot %s cannot bring every event: %s. %s, so the relay cannot tell which events were "+
		"not delivered. %s may be lost. Run relay recover --accept-loss: it shows the situation, and with --yes the "+
		"relay continues with what the slot brings",
		a.Slot, gap, outboxtable.WhyNotRepairable(a.Table), recovery.MayBeLost(row, state))
}

// effectOf describes how a recovery uses the slot, and which events are lost.
func effectOf(state slot.State) string {
	if state.IsIntact() {
		return "continues with the slot, which brings the rest. Events are lost if the slot does not bring them and " +
			"their rows were deleted"
	}
	return "creates the slot again. Events are lost if their rows were deleted before the delivery"
}

// createFor creates the slot for a marked row, and stores the end of the rows to read from the
// table. It is the only function that drops a slot, and only one that the server has invalidated.
func (a *Acquirer) createFor(ctx context.Context, stream *replication.Stream, state slot.State) (*HeldSlot, error) {
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
	fence, row, err := a.Store.Claim(ctx, stream.PID())
	if err != nil {
		return nil, raced(err)
	}
	if err := a.Store.SetRecoveryEnd(ctx, fence, snapshot, fingerprint, created.ConsistentPoint); err != nil {
		return nil, raced(err)
	}
	a.Log.Info("created the slot", "event", "slot_created", "slot", a.Slot,
		"consistent_point", created.ConsistentPoint.String(), "snapshot", snapshot)
	if isFirst := row.Position.FlushLSN == 0; a.Emitted != "" && !isFirst {
		a.Log.Error("messages that were emitted before the slot was created, and that were not delivered, are lost",
			"event", "messages_lost", "slot", a.Slot, "prefix", a.Emitted, "since", row.UpdatedAt)
	}
	return a.held(ctx, stream, fence, before)
}

// beforeSnapshot returns the fingerprint of a publication that streams every row from now on. A
// later snapshot, taken after every running transaction has ended, shows the rows that the
// publication may have missed.
func (a *Acquirer) beforeSnapshot(ctx context.Context) (fingerprint string, err error) {
	if err := a.refuseImportedRows(ctx, "relay recover"); err != nil {
		return "", err
	}
	if fingerprint, err = slot.Fingerprint(ctx, a.Pool, a.publication()); err != nil {
		return "", err
	}
	if fingerprint == "" {
		problem, fix := a.publicationFix(ctx)
		return "", fmt.Errorf("publication %s %s: %s", a.Publication, problem, fix)
	}
	return fingerprint, nil
}

// publicationFix returns the problem of the publication, and the statement that makes it stream
// every row. Where more than one may be the right one, it names the command that finds it.
func (a *Acquirer) publicationFix(ctx context.Context) (problem, fix string) {
	problem, fix = "does not stream every row of "+a.Table.String(), "relay check shows the statement that fixes it"
	if a.Table.IsSeveral() {
		return problem, fix
	}
	unlogged, err := outboxtable.FindUnlogged(ctx, a.Pool, a.Publication, a.Table)
	if err == nil && len(unlogged) > 0 && !unlogged[0].IsPartition && unlogged[0].IsInPublication {
		return "does not stream rows of an unlogged table", unlogged[0].String()
	}
	var exists, contains bool
	err = a.Pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1),
			EXISTS (SELECT FROM pg_publication_tables WHERE pubname = $1 AND schemaname = $2 AND tablename = $3)`,
		a.Publication, a.Table.Schema, a.Table.Name).Scan(&exists, &contains)
	switch {
	case err != nil || contains:
		return problem, fix
	case exists:
		return problem, fmt.Sprintf("run ALTER PUBLICATION %s ADD TABLE %s", outboxtable.Quote(a.Publication),
			a.Table.Identifier())
	}
	return "does not exist", "run " + outboxtable.CreatePublicationSQL(a.Publication, a.Table)
}

// createSlot creates a slot. While running transactions delay the creation, it reports them, and
// asks mayWait whether to continue. A nil mayWait always continues.
func (a *Acquirer) createSlot(ctx context.Context, stream *replication.Stream, o replication.SlotOptions,
	mayWait func(context.Context) error,
) (replication.NewSlot, error) {
	o.LockTimeout = slotLockTimeout
	a.Log.Info("creating the slot: the server first waits for the transactions that run now", "event", "slot_creating",
		"slot", a.Slot)
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
	a.Health.Failed(fmt.Errorf("the snapshot for slot %s waits for every transaction that runs in the cluster: end "+
		"these: %s",
		a.Slot, strings.Join(blockers, "; ")))
	a.Log.Warn("the snapshot waits for every transaction that runs in the cluster: end these to continue",
		"event", "snapshot_blocked", "slot", a.Slot, "blockers", strings.Join(blockers, "; "))
	return nil
}

// createWatched creates a slot while the server is seen to work on it. The creation may take long,
// and the client cannot tell it from a connection that was cut off.
func (a *Acquirer) createWatched(
	ctx context.Context, stream *replication.Stream, o replication.SlotOptions,
) (replication.NewSlot, error) {
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

// watchSender returns an error when two checks in a row find the walsender of this process idle or
// gone. Then its answer or the command was lost.
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
