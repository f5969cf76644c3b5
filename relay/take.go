package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

// held is a slot that this relay holds: its stream is started and unread, and nothing in it is
// missing.
type held struct {
	stream *replication.Stream
	fence  slot.Fence
	row    *checkpoint.Row
	seenAt time.Time // before the fence was last seen to hold
}

// errAgain says that a step towards holding the slot is done, or was done by another relay: look
// again.
var errAgain = errors.New("look again")

// take returns once this relay holds the slot. Another one may hold it for long; take waits, as a
// standby.
//
// Each round looks at the slot and at the checkpoint row and does the one step that follows from
// them, so that a relay that died between two steps, or two relays that take them at once, change
// nothing.
func (r *relay) take(ctx context.Context) (*held, error) {
	for {
		stream, err := r.openStream(ctx)
		if err != nil {
			return nil, err
		}
		h, err := r.step(ctx, stream)
		if err == nil {
			return h, nil
		}
		stream.Close()
		var synchronous *replication.SynchronousError
		switch {
		case errors.As(err, &synchronous):
			if err := r.awaitAsynchronous(ctx, synchronous); err != nil {
				return nil, err
			}
		case errors.Is(err, replication.ErrSlotActive):
			if err := r.standBy(ctx); err != nil {
				return nil, err
			}
		case errors.Is(err, errAgain):
			task.Sleep(ctx, rand.N(50*time.Millisecond)) // two relays that step on each other's feet fall out of step
		default:
			return nil, err
		}
	}
}

// StreamOpener returns how a relay with this configuration opens a replication connection, to find
// out whether that is possible.
func StreamOpener(config Config) func(context.Context) (*replication.Stream, error) {
	config.SenderTimeout = max(config.SenderTimeout, replicationTimeout)
	r := &relay{Config: config, learned: &learned{}}
	return r.openStream
}

// replicationTimeout is the least wal_sender_timeout of a connection that is only tried.
const replicationTimeout = 10 * time.Second

func (r *relay) openStream(ctx context.Context) (*replication.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	config, err := r.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.learned.pinVersion(ctx, &config.Config); err != nil {
		return nil, err
	}
	return replication.Open(ctx, replication.Config{
		Connection:    &config.Config,
		Slot:          r.Slot,
		Publication:   r.Publication,
		SenderTimeout: r.SenderTimeout,
	})
}

// standBy waits until nobody holds the slot.
func (r *relay) standBy(ctx context.Context) error {
	r.Log.Info("standby: waiting until the slot is free", "event", "standby", "slot", r.Slot)
	for {
		r.Health.Enter(health.Standby)
		task.Sleep(ctx, min(standbyInterval, r.SenderTimeout/standbyLooks))
		active, err := r.isActive(ctx)
		if err != nil || !active {
			return err
		}
	}
}

func (r *relay) isActive(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	state, err := slot.LookUp(ctx, r.pool, r.Slot)
	return state.Active, err
}

// step does what follows from the row and the slot as they are. All but creating a slot is a matter
// of moments: a server that does not answer ends it.
func (r *relay) step(ctx context.Context, stream *replication.Stream) (*held, error) {
	soon, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	row, err := r.store.Load(soon) // first: whoever changes the slot after it raises the epoch that BeginRecovery compares
	if err != nil {
		return nil, err
	}
	state, err := slot.LookUp(soon, r.pool, r.Slot)
	if err != nil {
		return nil, err
	}
	if err := state.Foreign(r.Slot); err != nil {
		return nil, &RefusedError{Reason: err.Error()}
	}
	system, err := stream.SystemIdentifier(soon)
	if err != nil {
		return nil, err
	}
	if err := r.checkRow(row, system); err != nil {
		return nil, err
	}
	switch {
	case row == nil && state.IsIntact():
		return r.adopt(soon, stream, state, system)
	case row == nil:
		return nil, r.begin(soon, system)
	case row.Recovery.IsMarked() && state.IsIntact():
		return r.beside(ctx, stream, row, state)
	case row.Recovery.IsMarked():
		return r.makeSlot(ctx, stream, state)
	case !state.IsIntact():
		return nil, r.beginRecovery(soon, row, state, "")
	}
	return r.resume(soon, stream, row)
}

func (r *relay) checkRow(row *checkpoint.Row, system string) error {
	switch {
	case row == nil:
		return nil
	case row.SystemIdentifier != system:
		return &RefusedError{Reason: recovery.AnotherCluster(row, system)}
	case row.Table != r.tableName():
		return refuse("slot %s relays table %s, RELAY_TABLE says %s: set RELAY_SLOT to a slot of its own for this table",
			r.Slot, row.Table, r.tableName())
	}
	return nil
}

// resume takes a slot that is there, and only then judges whether it brings everything. It has the server skip what the row
// says is delivered.
func (r *relay) resume(ctx context.Context, stream *replication.Stream, seen *checkpoint.Row) (*held, error) {
	from := seen.Position.FlushLSN
	if seen.IsBeside() { // the server may fail to decode what comes, and would release the slot while the table is read
		from = replication.Unread
	}
	if err := stream.Start(ctx, from); err != nil {
		return nil, err
	}
	before := time.Now()
	fence, row, err := r.store.Claim(ctx, stream.PID())
	if err != nil {
		return nil, again(err)
	}
	changed := row.Position.FlushLSN < seen.Position.FlushLSN || row.IsBeside() != seen.IsBeside()
	if row.Recovery.IsMarked() || changed { // since the last look, by an operator or another relay
		return nil, errAgain
	}
	state, err := slot.LookUp(ctx, r.pool, r.Slot)
	if err != nil {
		return nil, err
	}
	fingerprint, err := slot.Fingerprint(ctx, r.pool, r.publication())
	if err != nil {
		return nil, err
	}
	if recovery.Gap(row, state, fingerprint) != "" {
		return nil, r.beginRecovery(ctx, row, state, fingerprint)
	}
	return r.hold(ctx, stream, fence, before)
}

// hold returns what this relay holds since before, with the row as it stands now.
func (r *relay) hold(ctx context.Context, stream *replication.Stream, fence slot.Fence, before time.Time) (*held, error) {
	row, err := r.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	if row == nil || row.Epoch != fence.Epoch {
		return nil, errAgain
	}
	return &held{stream: stream, fence: fence, row: row, seenAt: before}, nil
}

// again turns a lost race for the slot into another look.
func again(err error) error {
	if errors.Is(err, slot.ErrFenced) || errors.Is(err, replication.ErrSlotExists) {
		return errAgain
	}
	return err
}
