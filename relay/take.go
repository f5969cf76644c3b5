package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

const (
	// nothingDelivered is a horizon before every transaction: xids begin at 3.
	nothingDelivered = "3:3:"
	// slotLockTimeout bounds each attempt to make a slot, which waits for every running transaction of the cluster.
	slotLockTimeout = 10 * time.Second
	// failoverVersion is the first that synchronises slots to standbys.
	failoverVersion = 17
)

// held is a slot that this relay holds: its stream is started and unread, and nothing in it is missing.
type held struct {
	stream *replication.Stream
	fence  slot.Fence
	row    *checkpoint.Row
	seenAt time.Time // before the fence was last seen to hold
}

// errAgain says that a step towards holding the slot is done, or was done by another relay: look again.
var errAgain = errors.New("look again")

// take returns once this relay holds the slot. Another one may hold it for long; take waits, as a standby.
//
// Each round looks at the slot and at the checkpoint row and does the one step that follows from them, so that a relay
// that died between two steps, or two relays that take them at once, change nothing.
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
		switch {
		case errors.Is(err, replication.ErrSlotActive):
			if err := r.standBy(ctx); err != nil {
				return nil, err
			}
		case errors.Is(err, errAgain):
			sleep(ctx, rand.N(50*time.Millisecond)) // two relays that step on each other's feet fall out of step
		default:
			return nil, err
		}
	}
}

func (r *relay) openStream(ctx context.Context) (*replication.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	config, err := r.Connect(ctx)
	if err != nil {
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
	r.Log.Info("standby: waiting until the slot is free", "slot", r.Slot)
	for {
		r.Health.Enter(health.Standby)
		sleep(ctx, standbyInterval)
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

// step does what follows from the row and the slot as they are. All but making the slot is a matter of moments: a server that
// does not answer ends it.
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
	usable := state.Exists && !state.Lost()
	switch {
	case row == nil && usable:
		return r.adopt(soon, stream, state, system)
	case row == nil:
		return nil, r.begin(soon, system)
	case row.Recovery != nil && row.Recovery.To == "":
		return r.makeSlot(ctx, stream, row, state)
	case !usable:
		return nil, r.beginRecovery(soon, row, recovery.Gap(row, state, ""))
	}
	return r.resume(soon, stream)
}

func (r *relay) checkRow(row *checkpoint.Row, system string) error {
	switch {
	case row == nil:
		return nil
	case row.SystemIdentifier != system:
		return refuse("the checkpoint of slot %s belongs to a cluster with system identifier %s, this one has %s: its positions and "+
			"transaction ids mean nothing here. Delete the row from relay_checkpoints and set RELAY_START=since:<time> to the last moment "+
			"that you know was delivered", r.Slot, row.SystemIdentifier, system)
	case row.Table != r.tableName():
		return refuse("slot %s relays table %s, RELAY_TABLE says %s: set RELAY_SLOT to a slot of its own for this table",
			r.Slot, row.Table, r.tableName())
	}
	return nil
}

// begin writes the first checkpoint row, for a slot that has yet to be made.
func (r *relay) begin(ctx context.Context, system string) error {
	first, err := r.firstRows(ctx)
	if err != nil {
		return err
	}
	err = r.store.Create(ctx, checkpoint.Row{
		Table:            r.tableName(),
		SystemIdentifier: system,
		Recovery:         &first,
	})
	if err != nil && !errors.Is(err, slot.ErrFenced) {
		return err
	}
	return errAgain
}

// firstRows returns which rows are to be published before the first slot is streamed. What is written from now on is among
// them: making the slot may take long.
func (r *relay) firstRows(ctx context.Context) (checkpoint.Recovery, error) {
	switch r.Start.Mode {
	case StartTable:
		return checkpoint.Recovery{From: nothingDelivered}, nil
	case StartNow:
		now, err := slot.CurrentSnapshot(ctx, r.pool)
		return checkpoint.Recovery{From: now}, err
	case StartSince:
		return checkpoint.Recovery{From: nothingDelivered, Since: r.Start.Since.UTC().Format(time.RFC3339Nano)}, nil
	}
	return checkpoint.Recovery{From: nothingDelivered}, r.requireEmptyTable(ctx)
}

// requireEmptyTable refuses to guess what is wanted of rows that were there before the relay.
func (r *relay) requireEmptyTable(ctx context.Context) error {
	var rows bool
	table := pgx.Identifier{r.Table.Schema, r.Table.Name}.Sanitize()
	if err := r.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+table+`)`).Scan(&rows); err != nil {
		return fmt.Errorf("look for rows in %s: %w", r.tableName(), err)
	}
	if rows {
		return refuse("table %s already has rows, and this is the first start of slot %s: set RELAY_START=table to publish them, "+
			"RELAY_START=now to leave them out, or RELAY_START=since:2026-01-31T00:00:00Z for those from then on", r.tableName(), r.Slot)
	}
	return nil
}

// CheckStart returns the [*RefusedError] with which [Run] would end at its first start with config, or nil.
func CheckStart(ctx context.Context, pool *pgxpool.Pool, config Config) error {
	r := &relay{Config: config, pool: pool, store: checkpoint.NewStore(pool, config.Slot)}
	row, err := r.store.Load(ctx)
	if err != nil || row != nil {
		return err
	}
	_, err = r.firstRows(ctx)
	return err
}

// adopt takes a slot that somebody made for the relay. What it will bring is unknown to the rows of the table, so those
// that exist by now are published beforehand if they are wanted, and some of them come twice.
func (r *relay) adopt(ctx context.Context, stream *replication.Stream, state slot.State, system string) (*held, error) {
	first, err := r.firstRows(ctx)
	if err != nil {
		return nil, err
	}
	fingerprint, err := slot.Fingerprint(ctx, r.pool, r.publication())
	if err != nil {
		return nil, err
	}
	if err := stream.Start(ctx); err != nil {
		return nil, err
	}
	snapshot, err := slot.CurrentSnapshot(ctx, r.pool)
	if err != nil {
		return nil, err
	}
	row := checkpoint.Row{
		Table:            r.tableName(),
		SystemIdentifier: system,
		Position:         checkpoint.Position{FlushLSN: state.ConfirmedFlushLSN},
		Horizon:          nothingDelivered,
		Fingerprint:      fingerprint,
	}
	if r.Start.Mode != StartNow { // else the slot alone says what comes
		first.To = snapshot
		row.Recovery = &first
	}
	if err := r.store.Create(ctx, row); err != nil && !errors.Is(err, slot.ErrFenced) {
		return nil, err
	}
	r.Log.Info("took over a slot that was there", "slot", r.Slot, "confirmed_flush_lsn", state.ConfirmedFlushLSN.String())
	return nil, errAgain // the row is there; the next round resumes like any other
}

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
	if err := r.store.BeginRecovery(ctx, row.Epoch); err != nil && !errors.Is(err, slot.ErrFenced) {
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
		created, err := stream.CreateSlot(ctx, version >= failoverVersion, slotLockTimeout)
		if !errors.Is(err, replication.ErrSlotBlocked) {
			return created, err
		}
		blockers, err := slot.Blockers(ctx, r.pool)
		if err != nil {
			return created, err
		}
		r.Health.Alive()
		r.Log.Warn("making the slot waits for every transaction that runs in the cluster: end these to go on",
			"slot", r.Slot, "blockers", strings.Join(blockers, "; "))
	}
}

// resume takes a slot that is there, and only then judges whether it brings everything.
func (r *relay) resume(ctx context.Context, stream *replication.Stream) (*held, error) {
	if err := stream.Start(ctx); err != nil {
		return nil, err
	}
	before := time.Now()
	fence, row, err := r.store.Claim(ctx, stream.PID())
	if err != nil {
		return nil, again(err)
	}
	state, err := slot.LookUp(ctx, r.pool, r.Slot)
	if err != nil {
		return nil, err
	}
	fingerprint, err := slot.Fingerprint(ctx, r.pool, r.publication())
	if err != nil {
		return nil, err
	}
	gap := recovery.Gap(row, state, fingerprint)
	if gap == "" {
		return r.hold(ctx, stream, fence, before)
	}
	if err := r.beginRecovery(ctx, row, gap); !errors.Is(err, errAgain) {
		return nil, err
	}
	stream.Close() // or the slot could not be dropped
	return nil, errAgain
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
