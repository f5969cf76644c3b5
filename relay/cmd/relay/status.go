package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

type statusCommand struct {
	database
	Slot string `env:"RELAY_SLOT" default:"outbox_relay" help:"Replication slot."`
}

// Run prints how the relay of the slot stands, whether it runs or not.
func (c *statusCommand) Run(ctx context.Context, w io.Writer) error {
	pool, err := relay.OpenPool(ctx, c.connect)
	if err != nil {
		return err
	}
	defer pool.Close()
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, part := range []func(context.Context, *pgxpool.Pool, io.Writer) error{c.slot, c.checkpoint, c.partitions, c.deadLetters, c.replay} {
		if err := part(ctx, pool, table); err != nil {
			return explain(err)
		}
	}
	return table.Flush()
}

// showSlot shows who holds the slot and how it is.
func showSlot(w io.Writer, name string, s slot.State) {
	switch {
	case !s.Exists:
		fmt.Fprintf(w, "slot\t%s: not there\n", name)
	case s.Active:
		fmt.Fprintf(w, "slot\t%s: held by process %d, wal_status %s\n", name, s.ActivePID, s.WALStatus)
	default:
		fmt.Fprintf(w, "slot\t%s: nobody holds it, wal_status %s %s\n", name, s.WALStatus, s.InvalidReason)
	}
}

// explain says what to do about what the database refuses.
func explain(err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || postgres.IsRowSecurity(err) {
		return postgres.Explain(err)
	}
	switch refused.Code {
	case pgerrcode.UndefinedTable:
		return fmt.Errorf("%w: run relay migrate", err)
	case pgerrcode.UndefinedColumn:
		return fmt.Errorf("%w: name the columns as the relay has them, in RELAY_COLUMN_…", err)
	case pgerrcode.InsufficientPrivilege:
		return fmt.Errorf("%w: grant it to the role in DATABASE_URL, or use another role (relay migrate needs CREATE on the database "+
			"and on its schema)", err)
	}
	return postgres.Explain(err)
}

func (c *statusCommand) slot(ctx context.Context, pool *pgxpool.Pool, w io.Writer) error {
	state, err := slot.LookUp(ctx, pool, c.Slot)
	if err != nil {
		return err
	}
	showSlot(w, c.Slot, state)
	if !state.Exists {
		return nil
	}
	fmt.Fprintf(w, "confirmed_flush_lsn\t%s\n", state.ConfirmedFlushLSN)
	fmt.Fprintf(w, "delivery lag\t%s of log\n", bytes(state.DeliveryLag))
	fmt.Fprintf(w, "retained WAL\t%s on the database's disk", bytes(state.RetainedWAL))
	if state.SafeWALSize >= 0 {
		fmt.Fprintf(w, ", %s more until the slot is in danger", bytes(state.SafeWALSize))
	}
	fmt.Fprintln(w)
	if danger := state.Danger(); danger != "" {
		fmt.Fprintf(w, "warning\t%s\n", danger)
	}
	return nil
}

func (c *statusCommand) checkpoint(ctx context.Context, pool *pgxpool.Pool, w io.Writer) error {
	row, err := checkpoint.NewStore(pool, c.Slot).Load(ctx)
	if err != nil {
		return err
	}
	if row == nil {
		fmt.Fprintln(w, "checkpoint\tnone: no relay has used this slot")
		return nil
	}
	fmt.Fprintf(w, "checkpoint\t%s, table %s\n", checkpointText(row), row.Table)
	if t := row.Position.Transaction; t.Delivered > 0 {
		fmt.Fprintf(w, "in transaction\t%s, %d events delivered\n", t.CommitLSN, t.Delivered)
	}
	switch {
	case row.Recovery == nil:
	case row.Recovery.IsMarked():
		fmt.Fprintln(w, "recovery\tmarked: the relay that runs, or the next one, begins with it")
	default:
		fmt.Fprintf(w, "recovery\tunder way, published from the table up to seq %d\n", row.Position.RecoveredSeq)
	}
	return nil
}

// checkpointText says where a checkpoint is and when it was written.
func checkpointText(row *checkpoint.Row) string {
	at := row.Position.FlushLSN.String()
	if row.Position.FlushLSN == 0 {
		at = "no position in the log yet"
	}
	return fmt.Sprintf("%s, written %s ago, epoch %d", at, time.Since(row.UpdatedAt).Round(time.Second), row.Epoch)
}

func (c *statusCommand) partitions(ctx context.Context, pool *pgxpool.Pool, w io.Writer) error {
	open, err := members.Open(ctx, pool, c.Slot)
	if err != nil {
		return err
	}
	for _, partition := range open {
		fmt.Fprintf(w, "partition\t%s was attached with rows in it: the relay publishes those that the log did not bring\n", partition)
	}
	return nil
}

func (c *statusCommand) deadLetters(ctx context.Context, pool *pgxpool.Pool, w io.Writer) error {
	parked, err := deadletter.Count(ctx, pool)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "dead letters\t%d parked\n", parked)
	return nil
}

func (c *statusCommand) replay(ctx context.Context, pool *pgxpool.Pool, w io.Writer) error {
	r, err := replay.Latest(ctx, pool, c.Slot)
	if err != nil || r == nil {
		return err
	}
	fmt.Fprintf(w, "replay\t%d is %s: %s\n", r.ID, r.State, far(r))
	return nil
}

// bytes returns n in the largest unit that keeps it above one.
func bytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
