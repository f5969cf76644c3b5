package leadership

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

// Held is a slot that this relay holds: its stream is started and unread, and nothing in it is
// missing.
type Held struct {
	Stream *replication.Stream
	Fence  slot.Fence
	Row    *checkpoint.Row
	SeenAt time.Time // before the fence was last seen to hold
}

// errRetry says that a step towards holding the slot is done, or was done by another relay: look
// again.
var errRetry = errors.New("look again")

// Acquire returns once this relay holds the slot. Another one may hold it for long; take waits, as a
// standby.
//
// Each round looks at the slot and at the checkpoint row and does the one step that follows from
// them, so that a relay that died between two steps, or two relays that take them at once, change
// nothing.
func (a *Acquirer) Acquire(ctx context.Context) (*Held, error) {
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
			task.Sleep(ctx, rand.N(50*time.Millisecond)) // two relays that step on each other's feet fall out of step
		default:
			return nil, err
		}
	}
}

// standBy waits until nobody holds the slot.
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

// step does what follows from the row and the slot as they are. All but creating a slot is a matter
// of moments: a server that does not answer ends it.
func (a *Acquirer) step(ctx context.Context, stream *replication.Stream) (*Held, error) {
	soon, cancel := context.WithTimeout(ctx, a.SenderTimeout)
	defer cancel()
	row, err := a.Store.Load(soon) // first: whoever changes the slot after it raises the epoch that BeginRecovery compares
	if err != nil {
		return nil, err
	}
	state, err := slot.LookUp(soon, a.Pool, a.Slot)
	if err != nil {
		return nil, err
	}
	if err := state.Foreign(a.Slot); err != nil {
		return nil, operator.Needed("%s", err)
	}
	system, err := stream.SystemIdentifier(soon)
	if err != nil {
		return nil, err
	}
	if err := a.checkRow(row, system); err != nil {
		return nil, err
	}
	switch {
	case row == nil && state.IsIntact():
		return a.adoptSlot(soon, stream, state, system)
	case row == nil:
		return nil, a.firstStart(soon, system)
	case row.Recovery.IsMarked() && state.IsIntact():
		return a.beside(ctx, stream, row, state)
	case row.Recovery.IsMarked():
		return a.createFor(ctx, stream, state)
	case !state.IsIntact():
		return nil, a.beginRecovery(soon, row, state, "")
	}
	return a.resume(soon, stream, row)
}

func (a *Acquirer) checkRow(row *checkpoint.Row, system string) error {
	switch {
	case row == nil:
		return nil
	case row.SystemIdentifier != system:
		return operator.Needed("%s", recovery.AnotherCluster(row, system))
	case row.Table != a.Table.String():
		return operator.Needed("slot %s relays table %s, RELAY_TABLE says %s: set RELAY_SLOT to a slot of its own for this table",
			a.Slot, row.Table, a.Table.String())
	}
	return nil
}

// resume takes a slot that is there, and only then judges whether it brings everything. It has the server skip what the row
// says is delivered.
func (a *Acquirer) resume(ctx context.Context, stream *replication.Stream, seen *checkpoint.Row) (*Held, error) {
	from := seen.Position.FlushLSN
	if seen.IsBeside() { // the server may fail to decode what comes, and would release the slot while the table is read
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
	changed := row.Position.FlushLSN < seen.Position.FlushLSN || row.IsBeside() != seen.IsBeside()
	if row.Recovery.IsMarked() || changed { // since the last look, by an operator or another relay
		return nil, errRetry
	}
	state, err := slot.LookUp(ctx, a.Pool, a.Slot)
	if err != nil {
		return nil, err
	}
	fingerprint, err := slot.Fingerprint(ctx, a.Pool, a.publication())
	if err != nil {
		return nil, err
	}
	if recovery.Gap(row, state, fingerprint) != "" {
		return nil, a.beginRecovery(ctx, row, state, fingerprint)
	}
	return a.hold(ctx, stream, fence, before)
}

// hold returns what this relay holds since before, with the row as it stands now.
func (a *Acquirer) hold(ctx context.Context, stream *replication.Stream, fence slot.Fence, before time.Time) (*Held, error) {
	row, err := a.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	if row == nil || row.Epoch != fence.Epoch {
		return nil, errRetry
	}
	return &Held{Stream: stream, Fence: fence, Row: row, SeenAt: before}, nil
}

// raced turns a lost race for the slot into another look.
func raced(err error) error {
	if errors.Is(err, slot.ErrFenced) || errors.Is(err, replication.ErrSlotExists) {
		return errRetry
	}
	return err
}
