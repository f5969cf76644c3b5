package leadership

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

// HeldSlot is a slot that this relay holds. Its stream is started and unread. Events that the
// stream may lack belong to the recovery of Row, if there is one.
type HeldSlot struct {
	Stream    *replication.Stream
	Fence     slot.Fence
	Row       *checkpoint.Row
	CheckedAt time.Time // before the query that last confirmed the fence
}

// errRetry means that this relay or another one has changed the row or the slot. The next round
// looks at both again.
var errRetry = errors.New("look again")

// Acquire returns once this relay holds the slot. While another relay holds it, Acquire waits as a
// standby.
//
// Each round reads the slot and the checkpoint row, and does the one step that follows from them.
// So it does not matter whether a relay dies between two steps, or whether two relays do a step at
// once.
func (a *Acquirer) Acquire(ctx context.Context) (*HeldSlot, error) {
	for {
		stream, err := a.Open.Stream(ctx)
		if err != nil {
			return nil, err
		}
		h, err := a.step(ctx, stream)
		if err == nil {
			return h, nil
		}
		stream.Close()
		var synchronous *replication.SynchronousError
		switch {
		case errors.As(err, &synchronous):
			if err := a.Commits.Await(ctx, synchronous); err != nil {
				return nil, err
			}
		case errors.Is(err, replication.ErrSlotActive):
			if err := a.standBy(ctx); err != nil {
				return nil, err
			}
		case errors.Is(err, errRetry):
			task.Sleep(ctx, rand.N(50*time.Millisecond)) // two relays that collide separate
		default:
			return nil, err
		}
	}
}

// standBy waits until no walsender holds the slot.
func (a *Acquirer) standBy(ctx context.Context) error {
	a.Log.Info("standby: waiting until the slot is free", "event", "standby", "slot", a.Slot)
	for {
		a.Health.Enter(health.Standby)
		task.Sleep(ctx, min(standbyInterval, a.SenderTimeout/standbyLooks))
		active, err := a.isActive(ctx)
		if err != nil || !active {
			return err
		}
	}
}

func (a *Acquirer) isActive(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, a.SenderTimeout)
	defer cancel()
	state, err := slot.LookUp(ctx, a.Pool, a.Slot)
	return state.Active, err
}

// step does the one step that follows from the row and the slot. SenderTimeout bounds every step
// except the creation of a slot, so that a server that does not answer ends the step.
func (a *Acquirer) step(ctx context.Context, stream *replication.Stream) (*HeldSlot, error) {
	soon, cancel := context.WithTimeout(ctx, a.SenderTimeout)
	defer cancel()
	// The row is read before the slot. A relay that changes the slot afterwards raises the epoch,
	// and BeginRecovery compares it.
	row, err := a.Store.Load(soon)
	if err != nil {
		return nil, err
	}
	state, err := slot.LookUp(soon, a.Pool, a.Slot)
	if err != nil {
		return nil, err
	}
	if err := state.CheckUsable(a.Slot); err != nil {
		return nil, operator.Needed("%s", err)
	}
	system, err := stream.SystemIdentifier(soon)
	if err != nil {
		return nil, err
	}
	if err := a.checkRow(row, system); err != nil {
		return nil, err
	}
	if err := a.CheckTables(soon, row); err != nil {
		return nil, err
	}
	switch {
	case row == nil && state.IsIntact():
		return a.adoptSlot(soon, stream, state, system)
	case row == nil:
		return nil, a.firstStart(soon, system)
	case row.Recovery.IsMarked() && state.IsIntact():
		return a.recoverInPlace(ctx, stream, row, state)
	case row.Recovery.IsMarked():
		if err := a.checkMessagesKept(row, state); err != nil {
			return nil, err
		}
		return a.createFor(ctx, stream, state)
	case !state.IsIntact():
		return nil, a.beginRecovery(soon, row, state, recovery.Gap(row, state, ""))
	}
	return a.resume(soon, stream, row)
}

func (a *Acquirer) checkRow(row *checkpoint.Row, system string) error {
	switch {
	case row == nil:
		return nil
	case row.SystemIdentifier != system:
		return operator.Needed("%s", recovery.AnotherCluster(row, system))
	case row.Recovery != nil && row.Recovery.ReadsTable() && !a.Table.IsRepairable():
		return operator.Needed("slot %s has a recovery that publishes rows of the table, and %s: name the columns, "+
			"or run relay recover --accept-loss, which shows which events may be lost",
			a.Slot, outboxtable.WhyNotRepairable(a.Table))
	}
	return a.checkEmitted(row)
}

// resume acquires an existing slot, and only then judges whether the slot brings every event. The
// server skips the transactions that the row counts as delivered.
func (a *Acquirer) resume(ctx context.Context, stream *replication.Stream, seen *checkpoint.Row) (*HeldSlot, error) {
	from := seen.Position.FlushLSN
	// The server may fail to decode the transactions before Until. It would then release the slot
	// while the relay reads the table.
	if seen.IsInPlace() {
		from = replication.Unread
	}
	if err := stream.Start(ctx, from); err != nil {
		return nil, err
	}
	before := time.Now()
	fence, row, err := a.Store.Claim(ctx, stream.PID())
	if err != nil {
		return nil, raced(err)
	}
	changed := row.Position.FlushLSN < seen.Position.FlushLSN || row.IsInPlace() != seen.IsInPlace()
	// An operator or another relay has changed the row since the last look.
	if row.Recovery.IsMarked() || changed {
		return nil, errRetry
	}
	state, err := slot.LookUp(ctx, a.Pool, a.Slot)
	if err != nil {
		return nil, err
	}
	fingerprint, err := slot.Fingerprint(ctx, a.Pool, a.publicationOf(row))
	if err != nil {
		return nil, err
	}
	gap := recovery.Gap(row, state, fingerprint)
	if gap == "" && row.Recovery == nil && a.Undecodable != nil {
		gap = fmt.Sprintf("the server cannot decode the log behind %s: %v", row.Position.FlushLSN, a.Undecodable)
	}
	if gap != "" {
		return nil, a.beginRecovery(ctx, row, state, gap)
	}
	return a.held(ctx, stream, fence, before)
}

// held returns the slot that this relay has held since before, with the current row.
func (a *Acquirer) held(
	ctx context.Context, stream *replication.Stream, fence slot.Fence, before time.Time,
) (*HeldSlot, error) {
	row, err := a.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	if row == nil || row.Epoch != fence.Epoch {
		return nil, errRetry
	}
	if err := a.checkEmitted(row); err != nil {
		return nil, err
	}
	if row.Emitted != a.Emitted {
		if err := a.Store.NoteEmitted(ctx, fence, a.Emitted); err != nil {
			return nil, raced(err)
		}
	}
	return &HeldSlot{Stream: stream, Fence: fence, Row: row, CheckedAt: before}, nil
}

// raced makes a lost race for the slot a retry.
func raced(err error) error {
	if errors.Is(err, slot.ErrFenced) || errors.Is(err, replication.ErrSlotExists) {
		return errRetry
	}
	return err
}
