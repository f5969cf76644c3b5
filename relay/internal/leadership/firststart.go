package leadership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// firstStart writes the first checkpoint row, for a slot that does not exist yet.
func (a *Acquirer) firstStart(ctx context.Context, system string) error {
	first, err := a.firstRows(ctx)
	if err != nil {
		return err
	}
	err = a.Store.Create(ctx, checkpoint.Row{
		Table:            a.Table.Key(),
		Tables:           a.Table.Names(),
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

// firstRows selects the rows to publish before the first slot is streamed. They include rows that
// are written from now on, because the creation of the slot may take long.
func (a *Acquirer) firstRows(ctx context.Context) (checkpoint.Recovery, error) {
	if !a.Table.IsRepairable() {
		return a.firstOfStream(ctx)
	}
	const command = "relay recover --since=TIME with the last time up to which you know that all events were delivered"
	if err := a.refuseImportedRows(ctx, command); err != nil {
		return checkpoint.Recovery{}, err
	}
	switch a.Start.Mode {
	case StartTable:
		return checkpoint.Recovery{From: recovery.NothingDelivered}, nil
	case StartNow:
		now, err := slot.CurrentSnapshot(ctx, a.Pool)
		return checkpoint.Recovery{From: now}, err
	case StartSince:
		since := a.Start.Since.UTC().Format(time.RFC3339Nano)
		return checkpoint.Recovery{From: recovery.NothingDelivered, Since: since}, nil
	}
	return checkpoint.Recovery{From: recovery.NothingDelivered}, a.requireEmptyTable(ctx)
}

// firstOfStream is the first start on a table whose rows cannot be read. Events that commit before
// the slot is created are not delivered, so an operator has to agree.
func (a *Acquirer) firstOfStream(ctx context.Context) (checkpoint.Recovery, error) {
	if a.Start.Mode != StartNow {
		return checkpoint.Recovery{}, operator.Needed("%s, so the first start of slot %s can publish no row that "+
			"was written before: set RELAY_START=now, with which the relay delivers the events that are committed "+
			"once it has created the slot", outboxtable.WhyNotRepairable(a.Table), a.Slot)
	}
	now, err := slot.CurrentSnapshot(ctx, a.Pool)
	return checkpoint.Recovery{From: now, Since: checkpoint.SinceNever}, err
}

// refuseImportedRows refuses to skip rows silently. A row with a transaction id that this cluster
// has not assigned yet would count as one that the stream will bring.
func (a *Acquirer) refuseImportedRows(ctx context.Context, command string) error {
	imported, err := recovery.HasImportedRows(ctx, a.Pool, a.Table)
	if err != nil || !imported {
		return err
	}
	return operator.Needed("table %s has rows with transaction ids that this cluster has not assigned yet: a dump "+
		"or logical replication copied them from another cluster. Run %s: it shows its plan, and with --yes gives "+
		"these rows transaction ids of this cluster",
		a.Table.String(), command)
}

// requireEmptyTable refuses to guess whether to publish rows that are older than the relay.
func (a *Acquirer) requireEmptyTable(ctx context.Context) error {
	for _, table := range a.Table.Each() {
		if err := a.requireEmpty(ctx, table); err != nil {
			return err
		}
	}
	return nil
}

func (a *Acquirer) requireEmpty(ctx context.Context, table outboxtable.Table) error {
	var rows bool
	if err := a.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+table.From()+
		` WHERE `+table.FilterSQL("")+`)`).Scan(&rows); err != nil {
		return fmt.Errorf("look for rows in %s: %w", table, err)
	}
	if rows {
		return operator.Needed("table %s already has rows, and this is the first start of slot %s: set "+
			"RELAY_START=table to publish them, RELAY_START=now to exclude them, or "+
			"RELAY_START=since:2026-01-31T00:00:00Z to publish those that were created since "+
			"then", table, a.Slot)
	}
	return nil
}

// adoptSlot acquires a slot that the operator created for the relay. The table does not show which
// rows that slot will bring. So the existing rows are published first if RELAY_START selects them,
// and some of them arrive twice.
func (a *Acquirer) adoptSlot(
	ctx context.Context, stream *replication.Stream, state slot.State, system string,
) (*HeldSlot, error) {
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
		Table:            a.Table.Key(),
		Tables:           a.Table.Names(),
		SystemIdentifier: system,
		Position:         checkpoint.Position{FlushLSN: state.ConfirmedFlushLSN},
		Horizon:          recovery.NothingDelivered,
		Fingerprint:      fingerprint,
	}
	if a.Start.Mode != StartNow { // with StartNow only the slot decides
		first.To = snapshot
		row.Recovery = &first
	}
	if err := a.Store.Create(ctx, row); err != nil && !errors.Is(err, slot.ErrFenced) {
		return nil, err
	}
	a.Log.Info("adopted the existing slot", "event", "slot_adopted", "slot", a.Slot,
		"confirmed_flush_lsn", state.ConfirmedFlushLSN.String())
	return nil, errRetry // the row exists, and the next round resumes
}
