package main

import (
	"cmp"
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
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// recoverCommand requests the recovery that a relay begins by itself after it has lost its slot.
type recoverCommand struct {
	database     `embed:"" group:"Postgres"`
	source       `embed:"" group:"Outbox table"`
	TrustHorizon bool   `xor:"from" help:"pg_upgrade created this cluster and kept the transaction ids: begin from the horizon of the former cluster."`
	Since        moment `xor:"from" placeholder:"TIME" help:"The rows were copied from another cluster (a dump, blue/green): publish those created at or after this time, as in 1h (an hour ago) or 2026-01-31T00:00:00Z, and count older ones as delivered."`
	AcceptLoss   bool   `xor:"from" help:"The table has no sequence or no transaction ids, so it does not show which events are missing: continue with what the slot brings."`
	JSON         bool   `name:"json" help:"Print the plan and the result as JSON."`
	Messages     bool   `name:"without-messages" xor:"from" help:"Continue without the emitted messages that are not delivered: the relay stopped reading them (RELAY_EMITTED), or reads those of another prefix."`
	Cancel       bool   `xor:"from" help:"Withdraw a marked recovery, or an unfinished first start, if that loses no event."`
	Yes          bool   `help:"Mark the recovery, or withdraw it with --cancel. Without --yes, only show the plan."`
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
			Pool: pool, Slot: c.Slot, Table: table, Publication: table.PublishedBy(publication),
		}
		form := recoverForm{Version: formatVersion, Slot: c.Slot, Action: "none"}
		text := w
		if c.JSON {
			text = io.Discard
		}
		switch {
		case c.Cancel:
			err = c.cancel(ctx, o, &form, text)
		case c.Messages:
			err = c.giveUpMessages(ctx, pool, &form, text)
		default:
			err = c.recover(ctx, o, &form, text)
		}
		if c.JSON {
			err = errors.Join(err, printJSON(w, form))
		}
		return explain(err)
	})
}

// cancel withdraws a marked recovery.
func (c *recoverCommand) cancel(ctx context.Context, o recovery.Operator, form *recoverForm, w io.Writer) error {
	situation, err := o.Requested(ctx)
	if err != nil {
		return err
	}
	form.situation(situation)
	withdrawal, err := o.Cancelable(situation)
	if err != nil {
		return err
	}
	effect := "the slot brings every event that is not delivered"
	if withdrawal == recovery.FirstStart {
		effect = "the next start of the relay is its first again, and RELAY_START says whether it publishes the " +
			"existing rows. Events that were published may arrive again"
	}
	form.Withdrawal = string(withdrawal)
	if !c.Yes {
		_, err := fmt.Fprintf(w, "nothing is changed: with --yes the %s of slot %s is withdrawn: %s\n",
			withdrawal, c.Slot, effect)
		return err
	}
	if err := o.Cancel(ctx, situation, withdrawal); err != nil {
		return err
	}
	form.Action = "withdrawn"
	_, err = fmt.Fprintf(w, "withdrawn: %s\n", effect)
	return err
}

func (c *recoverCommand) recover(ctx context.Context, o recovery.Operator, form *recoverForm, w io.Writer) error {
	situation, err := o.Look(ctx)
	if err != nil {
		return err
	}
	form.situation(situation)
	show := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	c.showSituation(show, situation)
	request := recovery.Request{TrustHorizon: c.TrustHorizon, Since: c.Since.Time, AcceptLoss: c.AcceptLoss}
	plan, err := o.Plan(ctx, situation, request)
	if err != nil {
		return errors.Join(show.Flush(), err)
	}
	form.plan(situation, plan)
	showPlan(show, situation, plan)
	if err := show.Flush(); err != nil {
		return err
	}
	if c.Yes {
		// ^Before the mark, because a relay can begin the recovery as soon as it is marked.
		if err := c.agree(ctx, o, situation); err != nil {
			return err
		}
	}
	if situation.IsMarked(request) {
		form.Action = "marked_already"
		_, err := fmt.Fprintln(w, "\nmarked already: the running relay, or the next one, begins with it")
		return err
	}
	if !c.Yes {
		_, err := fmt.Fprintln(w, "\nnothing is changed: with --yes the running relay, or the next one, "+
			effect(situation, plan)+"; events that were published may arrive again")
		return err
	}
	rewritten := func(rows int64) {
		fmt.Fprintf(w, "gave %s %s of this cluster\n", span.Count(rows, "row"),
			span.Verb(rows, "a transaction id", "transaction ids"))
	}
	if err := o.Mark(ctx, situation, request, plan, rewritten); err != nil {
		return err
	}
	form.Action = "marked"
	_, err = fmt.Fprintln(w, "\nmarked: the running relay, or the next one, "+effect(situation, plan)+
		"; relay status shows its progress")
	return err
}

// agree stores the operator's word about events that the recovery cannot bring.
func (c *recoverCommand) agree(ctx context.Context, o recovery.Operator, s recovery.Situation) error {
	if err := members.Request(ctx, o.Pool, o.Slot); err != nil {
		return err
	}
	if s.Row == nil || !recovery.LosesLog(s.Row, s.Slot) {
		return nil
	}
	return checkpoint.NewStore(o.Pool, o.Slot).GiveUpMessages(ctx)
}

// giveUpMessages lets a relay continue that does not read the messages which the slot brings.
func (c *recoverCommand) giveUpMessages(
	ctx context.Context, pool *pgxpool.Pool, form *recoverForm, w io.Writer,
) error {
	store := checkpoint.NewStore(pool, c.Slot)
	row, err := store.Load(ctx)
	if err != nil {
		return err
	}
	if row == nil || row.Emitted == "" {
		return fmt.Errorf("slot %s has no messages to give up: no relay has read emitted messages from it", c.Slot)
	}
	const effect = "the next relay continues without the messages with the prefix %s that are not delivered, and " +
		"reads those that its RELAY_EMITTED names"
	if !c.Yes {
		_, err := fmt.Fprintf(w, "nothing is changed: with --yes "+effect+"\n", row.Emitted)
		return err
	}
	if err := store.GiveUpMessages(ctx); err != nil {
		return err
	}
	form.Action = "messages_given_up"
	_, err = fmt.Fprintf(w, "done: "+effect+"\n", row.Emitted)
	return err
}

// effect describes a recovery.
func effect(s recovery.Situation, p recovery.Plan) string {
	switch {
	case p.ReadsTable():
		return "publishes these rows from the table, and " + slotEffect(s)
	case s.Slot.IsIntact():
		return "publishes nothing from the table, and continues with the existing slot"
	}
	return "publishes nothing from the table, and creates the slot again"
}

// slotEffect describes how a recovery uses the slot.
func slotEffect(s recovery.Situation) string {
	if s.Slot.IsIntact() {
		return "continues with the existing slot"
	}
	return "creates the slot again: events are lost if their rows were deleted before the delivery"
}

func (c *recoverCommand) showSituation(w io.Writer, s recovery.Situation) {
	showSlot(w, c.Slot, s.Slot)
	switch {
	case s.Row == nil:
		fmt.Fprintln(w, "checkpoint\tnone")
	case s.Row.SystemIdentifier != s.System:
		fmt.Fprintf(w, "checkpoint\tof another cluster: its system identifier is %s, and this cluster's is %s\n",
			s.Row.SystemIdentifier, s.System)
	default:
		fmt.Fprintf(w, "checkpoint\t%s\n", checkpointText(s.Row))
	}
	if s.Gap == "" {
		fmt.Fprintln(w, "gap\tnone: the slot brings every event that is not delivered")
		return
	}
	fmt.Fprintf(w, "gap\t%s\n", s.Gap)
	if s.Row == nil || !recovery.LosesLog(s.Row, s.Slot) {
		return
	}
	if prefix := cmp.Or(s.Row.Emitted, c.Emitted); prefix != "" {
		fmt.Fprintf(w, "may be lost\t%s with the prefix %s, because no table has them\n",
			recovery.MayBeLostOf("messages", s.Row, s.Slot), prefix)
	}
}

// showSlot shows the state of the slot and its holder.
func showSlot(w io.Writer, name string, s slot.State) {
	switch {
	case !s.Exists:
		fmt.Fprintf(w, "slot\t%s: does not exist\n", name)
	case s.Active:
		fmt.Fprintf(w, "slot\t%s: held by process %d, wal_status %s\n", name, s.ActivePID, s.WALStatus)
	default:
		fmt.Fprintf(w, "slot\t%s: not held, wal_status %s %s\n", name, s.WALStatus, s.InvalidReason)
	}
}

// checkpointText describes the position and the age of a checkpoint.
func checkpointText(row *checkpoint.Row) string {
	at := row.Position.FlushLSN.String()
	if row.Position.FlushLSN == 0 {
		at = "no position in the log yet"
	}
	return fmt.Sprintf("%s, written %s", at, ago(row.UpdatedAt))
}

func showPlan(w io.Writer, s recovery.Situation, p recovery.Plan) {
	if !p.ReadsTable() {
		fmt.Fprintf(w, "publishes\tnothing from the table, because it does not show which events were not delivered\n"+
			"may be lost\t%s\n", recovery.MayBeLost(s.Row, s.Slot))
		return
	}
	from := "rows that the checkpoint does not count as delivered"
	if p.From == recovery.NothingDelivered {
		from = "all rows"
	}
	if p.Since != "" {
		from += ", created at or after " + p.Since
	}
	fmt.Fprintf(w, "publishes\t%s\n", from)
	switch {
	case !p.Counted:
		fmt.Fprintln(w, "rows\ttoo many to count within ten seconds")
	case p.Oldest.IsZero():
		fmt.Fprintf(w, "rows\t%d\n", p.Rows)
	default:
		fmt.Fprintf(w, "rows\t%d, the oldest created %s (%s)\n",
			p.Rows, p.Oldest.UTC().Format(time.RFC3339), ago(p.Oldest))
	}
	if s.Imported {
		fmt.Fprintln(w, "imported rows\tsome rows have transaction ids of another cluster: they first get ids of "+
			"this one")
	}
}
