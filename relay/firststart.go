package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// nothingDelivered is a horizon before every transaction: xids begin at 3.
const nothingDelivered = "3:3:"

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
