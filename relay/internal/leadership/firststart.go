package leadership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// firstStart writes the first checkpoint row, for a slot that has yet to be made.
func (a *Acquirer) firstStart(ctx context.Context, system string) error {
	first, err := a.firstRows(ctx)
	if err != nil {
		return err
	}
	err = a.Store.Create(ctx, checkpoint.Row{
		Table:            a.Table.String(),
		SystemIdentifier: system,
		Recovery:         &first,
	})
	if err != nil && !errors.Is(err, slot.ErrFenced) {
		return err
	}
	if err := members.Register(ctx, a.Pool, a.Slot, a.Table); err != nil {
		return err
	}
	return errRetry
}

// firstRows returns which rows are to be published before the first slot is streamed. What is written from now on is among
// them: making the slot may take long.
func (a *Acquirer) firstRows(ctx context.Context) (checkpoint.Recovery, error) {
	if err := a.refuseForeignRows(ctx, "relay recover --since=TIME, with the last moment that you know was delivered"); err != nil {
		return checkpoint.Recovery{}, err
	}
	switch a.Start.Mode {
	case StartTable:
		return checkpoint.Recovery{From: recovery.NothingDelivered}, nil
	case StartNow:
		now, err := slot.CurrentSnapshot(ctx, a.Pool)
		return checkpoint.Recovery{From: now}, err
	case StartSince:
		return checkpoint.Recovery{From: recovery.NothingDelivered, Since: a.Start.Since.UTC().Format(time.RFC3339Nano)}, nil
	}
	return checkpoint.Recovery{From: recovery.NothingDelivered}, a.requireEmptyTable(ctx)
}

// refuseForeignRows refuses to pass by rows in silence: those of transactions that this cluster has yet to come to would be
// taken for rows that the stream is going to bring.
func (a *Acquirer) refuseForeignRows(ctx context.Context, command string) error {
	foreign, err := recovery.HasForeignRows(ctx, a.Pool, a.Table)
	if err != nil || !foreign {
		return err
	}
	return operator.Needed("table %s has rows with transaction ids that this cluster has not given out yet: they were copied from another cluster, by a "+
		"dump or by logical replication. Run %s: it shows what it would do, and with --yes gives them transaction ids of this cluster",
		a.Table.String(), command)
}

// requireEmptyTable refuses to guess what is wanted of rows that were there before the relay.
func (a *Acquirer) requireEmptyTable(ctx context.Context) error {
	var rows bool
	if err := a.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+a.Table.From()+`)`).Scan(&rows); err != nil {
		return fmt.Errorf("look for rows in %s: %w", a.Table.String(), err)
	}
	if rows {
		return operator.Needed("table %s already has rows, and this is the first start of slot %s: set RELAY_START=table to publish them, "+
			"RELAY_START=now to leave them out, or RELAY_START=since:2026-01-31T00:00:00Z for those from then on", a.Table.String(), a.Slot)
	}
	return nil
}

// CheckStart returns the [*operator.NeededError] with which the first start would end, or nil.
func (a *Acquirer) CheckStart(ctx context.Context) error {
	row, err := a.Store.Load(ctx)
	if err != nil {
		return err
	}
	system, err := slot.SystemIdentifier(ctx, a.Pool)
	if err != nil {
		return err
	}
	if err := a.checkRow(row, system); err != nil || row != nil {
		return err
	}
	_, err = a.firstRows(ctx)
	return err
}

// adoptSlot takes a slot that somebody made for the relay. What it will bring is unknown to the rows of the table, so those
// that exist by now are published beforehand if they are wanted, and some of them come twice.
func (a *Acquirer) adoptSlot(ctx context.Context, stream *replication.Stream, state slot.State, system string) (*Held, error) {
	first, err := a.firstRows(ctx)
	if err != nil {
		return nil, err
	}
	fingerprint, err := slot.Fingerprint(ctx, a.Pool, a.publication())
	if err != nil {
		return nil, err
	}
	if err := stream.Start(ctx, state.ConfirmedFlushLSN); err != nil {
		return nil, err
	}
	snapshot, err := slot.CurrentSnapshot(ctx, a.Pool)
	if err != nil {
		return nil, err
	}
	row := checkpoint.Row{
		Table:            a.Table.String(),
		SystemIdentifier: system,
		Position:         checkpoint.Position{FlushLSN: state.ConfirmedFlushLSN},
		Horizon:          recovery.NothingDelivered,
		Fingerprint:      fingerprint,
	}
	if a.Start.Mode != StartNow { // else the slot alone says what comes
		first.To = snapshot
		row.Recovery = &first
	}
	if err := a.Store.Create(ctx, row); err != nil && !errors.Is(err, slot.ErrFenced) {
		return nil, err
	}
	a.Log.Info("adopted the existing slot", "event", "slot_adopted", "slot", a.Slot, "confirmed_flush_lsn", state.ConfirmedFlushLSN.String())
	return nil, errRetry // the row is there; the next round resumes like any other
}
