package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// recoverCommand starts the recovery that the relay starts by itself when it finds its slot lost.
type recoverCommand struct {
	database     `embed:"" group:"Postgres"`
	source       `embed:"" group:"Outbox table"`
	TrustHorizon bool   `xor:"from" help:"The cluster was made by pg_upgrade, which keeps transaction ids: begin from the horizon of the cluster before."`
	Since        moment `xor:"from" placeholder:"TIME" help:"The rows were copied from another cluster (a dump, blue/green): publish those created from this moment on, as in 2026-01-31T00:00:00Z, and count older ones as delivered."`
	Cancel       bool   `xor:"from" help:"Withdraw a recovery that is marked, or a first start that is not done, where that loses no event."`
	Yes          bool   `help:"Mark the recovery, or withdraw it with --cancel. Without it, only show what it would do."`
}

// Run shows the effect of a recovery, and marks the recovery if --yes is set.
func (c *recoverCommand) Run(ctx context.Context, w io.Writer) error {
	table, problems := c.table()
	publication, err := parseName("RELAY_PUBLICATION", c.Publication)
	if err != nil {
		problems = append(problems, err)
	}
	if !c.Since.IsZero() && c.ColumnCreatedAt == "" {
		problems = append(problems, errors.New("--since needs a column with the time of the event: name it in "+
			"RELAY_COLUMN_CREATED_AT"))
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	return c.with(ctx, func(pool *pgxpool.Pool) error {
		table, err := members.Look(ctx, pool, table)
		if err != nil {
			return explain(err)
		}
		o := recovery.Operator{
			Pool: pool, Slot: c.Slot, Table: table,
			Publication: slot.Publication{Name: publication, Table: table.String()},
		}
		if c.Cancel {
			return explain(c.cancel(ctx, o, w))
		}
		return explain(c.recover(ctx, o, w))
	})
}

// cancel withdraws a marked recovery.
func (c *recoverCommand) cancel(ctx context.Context, o recovery.Operator, w io.Writer) error {
	situation, err := o.Requested(ctx)
	if err != nil {
		return err
	}
	withdrawal, err := o.Cancelable(situation)
	if err != nil {
		return err
	}
	effect := "the slot brings every event that is not delivered"
	if withdrawal == recovery.FirstStart {
		effect = "the next start of the relay is its first again, and RELAY_START says what becomes of the rows " +
			"that are there. What was " +
			"published may come again"
	}
	if !c.Yes {
		_, err := fmt.Fprintf(w, "nothing is changed: with --yes the %s of slot %s is withdrawn: %s\n", withdrawal,
			c.Slot, effect)
		return err
	}
	if err := o.Cancel(ctx, situation, withdrawal); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "withdrawn: %s\n", effect)
	return err
}

func (c *recoverCommand) recover(ctx context.Context, o recovery.Operator, w io.Writer) error {
	situation, err := o.Look(ctx)
	if err != nil {
		return err
	}
	show := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	c.showSituation(show, situation)
	request := recovery.Request{TrustHorizon: c.TrustHorizon, Since: c.Since.Time}
	plan, err := o.Plan(ctx, situation, request)
	if err != nil {
		return errors.Join(show.Flush(), err)
	}
	showPlan(show, situation, plan)
	if err := show.Flush(); err != nil {
		return err
	}
	if c.Yes {
		// before the mark, because a relay can start the recovery as soon as it is marked
		if err := members.Request(ctx, o.Pool, o.Slot); err != nil {
			return err
		}
	}
	if situation.IsMarked(request) {
		_, err := fmt.Fprintln(w, "\nmarked already: the relay that runs, or the next one, begins with it")
		return err
	}
	if !c.Yes {
		_, err := fmt.Fprintln(w, "\nnothing is changed: with --yes the relay that runs, or the next one, publishes "+
			"these rows from the table, and "+whatOfSlot(situation)+"; what was published may come again")
		return err
	}
	adopted := func(rows int64) {
		fmt.Fprintf(w, "gave %d rows transaction ids of this cluster\n", rows)
	}
	if err := o.Mark(ctx, situation, request, plan, adopted); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, "\nmarked: the relay that runs, or the next one, publishes these rows from the table, "+
		"and "+whatOfSlot(situation)+"; relay status shows how far it is")
	return err
}

// whatOfSlot describes how a recovery treats the slot.
func whatOfSlot(s recovery.Situation) string {
	if s.Slot.IsIntact() {
		return "continues with the slot that is there"
	}
	return "creates the slot again: events whose rows were deleted before they were delivered are lost with the old one"
}

func (c *recoverCommand) showSituation(w io.Writer, s recovery.Situation) {
	showSlot(w, c.Slot, s.Slot)
	switch {
	case s.Row == nil:
		fmt.Fprintln(w, "checkpoint\tnone")
	case s.Row.SystemIdentifier != s.System:
		fmt.Fprintf(w, "checkpoint\tof another cluster: its system identifier is %s, this one's %s\n",
			s.Row.SystemIdentifier, s.System)
	default:
		fmt.Fprintf(w, "checkpoint\t%s\n", checkpointText(s.Row))
	}
	if s.Gap == "" {
		fmt.Fprintln(w, "gap\tnone: the slot brings every event that is not delivered")
		return
	}
	fmt.Fprintf(w, "gap\t%s\n", s.Gap)
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

// checkpointText says where a checkpoint is and when it was written.
func checkpointText(row *checkpoint.Row) string {
	at := row.Position.FlushLSN.String()
	if row.Position.FlushLSN == 0 {
		at = "no position in the log yet"
	}
	return fmt.Sprintf("%s, written %s ago, epoch %d", at, time.Since(row.UpdatedAt).Round(time.Second), row.Epoch)
}

func showPlan(w io.Writer, s recovery.Situation, p recovery.Plan) {
	from := "rows of transactions that are not visible in the horizon " + p.From
	if p.From == recovery.NothingDelivered {
		from = "all rows"
	}
	if p.Since != "" {
		from += ", created at or after " + p.Since
	}
	fmt.Fprintf(w, "publishes\t%s\n", from)
	switch {
	case !p.Counted:
		fmt.Fprintln(w, "rows\ttoo many to count in short time")
	case p.Oldest.IsZero():
		fmt.Fprintf(w, "rows\t%d\n", p.Rows)
	default:
		fmt.Fprintf(w, "rows\t%d, the oldest created %s\n", p.Rows, p.Oldest.UTC().Format(time.RFC3339))
	}
	if s.Foreign {
		fmt.Fprintln(w, "imported rows\tthere are rows with transaction ids of another cluster: they are given ids "+
			"of this one first")
	}
}
