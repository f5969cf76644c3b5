package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

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
	if err := members.Register(ctx, r.pool, r.Slot, r.Table); err != nil {
		return err
	}
	return errAgain
}

// firstRows returns which rows are to be published before the first slot is streamed. What is written from now on is among
// them: making the slot may take long.
func (r *relay) firstRows(ctx context.Context) (checkpoint.Recovery, error) {
	if err := r.refuseForeignRows(ctx, "relay recover --since=TIME, with the last moment that you know was delivered"); err != nil {
		return checkpoint.Recovery{}, err
	}
	switch r.Start.Mode {
	case StartTable:
		return checkpoint.Recovery{From: recovery.NothingDelivered}, nil
	case StartNow:
		now, err := slot.CurrentSnapshot(ctx, r.pool)
		return checkpoint.Recovery{From: now}, err
	case StartSince:
		return checkpoint.Recovery{From: recovery.NothingDelivered, Since: r.Start.Since.UTC().Format(time.RFC3339Nano)}, nil
	}
	return checkpoint.Recovery{From: recovery.NothingDelivered}, r.requireEmptyTable(ctx)
}

// refuseForeignRows refuses to pass by rows in silence: those of transactions that this cluster has yet to come to would be
// taken for rows that the stream is going to bring.
func (r *relay) refuseForeignRows(ctx context.Context, command string) error {
	foreign, err := recovery.HasForeignRows(ctx, r.pool, r.Table)
	if err != nil || !foreign {
		return err
	}
	return refuse("table %s has rows with transaction ids that this cluster has not given out yet: they were copied from another cluster, by a "+
		"dump or by logical replication. Run %s: it shows what it would do, and with --yes gives them transaction ids of this cluster",
		r.tableName(), command)
}

// requireEmptyTable refuses to guess what is wanted of rows that were there before the relay.
func (r *relay) requireEmptyTable(ctx context.Context) error {
	var rows bool
	if err := r.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+r.Table.From()+`)`).Scan(&rows); err != nil {
		return fmt.Errorf("look for rows in %s: %w", r.tableName(), err)
	}
	if rows {
		return refuse("table %s already has rows, and this is the first start of slot %s: set RELAY_START=table to publish them, "+
			"RELAY_START=now to leave them out, or RELAY_START=since:2026-01-31T00:00:00Z for those from then on", r.tableName(), r.Slot)
	}
	return nil
}

// CheckStart returns the [*RefusedError] with which [Run] would end at its start with config, or nil.
func CheckStart(ctx context.Context, pool *pgxpool.Pool, config Config) error {
	var err error
	if config.Table, err = members.Look(ctx, pool, config.Table); err != nil {
		return err
	}
	r := &relay{Config: config, pool: pool, store: checkpoint.NewStore(pool, config.Slot)}
	row, err := r.store.Load(ctx)
	if err != nil {
		return err
	}
	system, err := slot.SystemIdentifier(ctx, pool)
	if err != nil {
		return err
	}
	if err := r.checkRow(row, system); err != nil || row != nil {
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
	if err := stream.Start(ctx, state.ConfirmedFlushLSN); err != nil {
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
		Horizon:          recovery.NothingDelivered,
		Fingerprint:      fingerprint,
	}
	if r.Start.Mode != StartNow { // else the slot alone says what comes
		first.To = snapshot
		row.Recovery = &first
	}
	if err := r.store.Create(ctx, row); err != nil && !errors.Is(err, slot.ErrFenced) {
		return nil, err
	}
	r.Log.Info("adopted the existing slot", "event", "slot_adopted", "slot", r.Slot, "confirmed_flush_lsn", state.ConfirmedFlushLSN.String())
	return nil, errAgain // the row is there; the next round resumes like any other
}
