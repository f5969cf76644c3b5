package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
)

const (
	// defaultRate is the default number of events a second.
	defaultRate = 100
	// recordedTimeout bounds the wait for the next write of the checkpoint row. A relay that
	// streams records a delivery within a few seconds.
	recordedTimeout = 15 * time.Second
)

// replayCommand tells the running relay to resend delivered events.
type replayCommand struct {
	EventID   []string `name:"event-id" placeholder:"ID" help:"Events with these ids."`
	Since     moment   `placeholder:"TIME" help:"Events created at or after this time, as in 1h (an hour ago) or 2026-01-31T00:00:00Z. Without --until, all events until now."`
	Until     moment   `placeholder:"TIME" help:"Events created before this time."`
	Aggregate string   `placeholder:"TYPE/ID" help:"Events of this aggregate. If several conditions are set, all must hold."`
	Yes       bool     `help:"Send the events. Without --yes, only list them."`
	Rate      *int     `placeholder:"N" help:"Events a second, at most. Default: 100, or with --resume the former rate."`
	NoWait    bool     `help:"Do not wait until they are sent: relay status shows the progress."`
	Resume    int64    `placeholder:"N" help:"Continue a stopped replay, or watch a running one."`
	Stop      int64    `placeholder:"N" help:"Stop a running replay."`
	JSON      bool     `name:"json" help:"Print the plan and the outcome as JSON, and the progress on stderr."`

	database `embed:"" group:"Postgres"`
	source   `embed:"" group:"Outbox table, with the relay's settings"`
	shown    `embed:"" group:"Destinations, with the relay's settings: for display only, because the running relay routes the events"`
}

// Run plans, starts, resumes or stops a replay.
func (c *replayCommand) Run(ctx context.Context, w io.Writer) error {
	table, problems := c.table()
	if err := errors.Join(append(problems, c.check())...); err != nil {
		return err
	}
	return c.with(ctx, func(pool *pgxpool.Pool) error {
		table, err := c.look(ctx, pool, table)
		if err != nil {
			return explain(err)
		}
		console := &replayConsole{
			waiter:   waiter{pool: pool, slot: c.Slot, out: w},
			operator: replay.NewOperator(pool, c.Slot, table), table: table,
			form: replayForm{Version: formatVersion, Slot: c.Slot},
		}
		if !c.JSON {
			return explain(c.do(ctx, console))
		}
		console.out = &terminal{out: os.Stderr}
		err = explain(c.do(ctx, console))
		return errors.Join(err, printJSON(w, console.form))
	})
}

// look returns the table whose events are sent. It is one of several if the slot has several.
func (c *replayCommand) look(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) (outboxtable.Table,
	error,
) {
	table, err := members.Look(ctx, pool, table)
	if err != nil || c.Resume != 0 || c.Stop != 0 {
		return table, err
	}
	if table.IsSeveral() {
		return table, chooseOne(table)
	}
	row, err := checkpoint.NewStore(pool, c.Slot).Load(ctx)
	if err != nil || row == nil {
		return table, err
	}
	publication, err := parseName("RELAY_PUBLICATION", c.Publication)
	return members.OneOf(table, publication, row.Table, row.Tables), err
}

func (c *replayCommand) do(ctx context.Context, console *replayConsole) error {
	switch {
	case c.Stop != 0:
		return c.stop(ctx, console)
	case c.Resume != 0:
		return c.resume(ctx, console)
	}
	return c.begin(ctx, console)
}

// check returns every problem of the flags.
func (c *replayCommand) check() error {
	var problems []error
	selects := len(c.EventID) > 0 || !c.Since.IsZero() || !c.Until.IsZero() || c.Aggregate != ""
	switch {
	case c.Resume != 0 && c.Stop != 0, selects && (c.Resume != 0 || c.Stop != 0):
		problems = append(problems, errors.New("--resume and --stop take the number of a replay alone"))
	case !selects && c.Resume == 0 && c.Stop == 0:
		problems = append(problems, errors.New("say which events: --event-id, --aggregate, or --since and --until"))
	case !c.Since.IsZero() && !c.Until.IsZero() && !c.Since.Before(c.Until.Time):
		problems = append(problems, errors.New("--since has to be before --until"))
	}
	if c.Aggregate != "" && !strings.Contains(c.Aggregate, "/") {
		problems = append(problems, fmt.Errorf("--aggregate %q: write TYPE/ID, as in order/4711", c.Aggregate))
	}
	if c.ColumnSequence == "" || c.ColumnXID == "" {
		problems = append(problems, errors.New("relay replay needs the columns in RELAY_COLUMN_SEQUENCE and "+
			"RELAY_COLUMN_XID, by which it finds delivered events in the table"))
	}
	if c.ColumnCreatedAt == "" && (!c.Since.IsZero() || !c.Until.IsZero()) {
		problems = append(problems, errors.New("--since and --until need a column with the time of the event: name "+
			"it in RELAY_COLUMN_CREATED_AT"))
	}
	if c.Rate != nil {
		problems = append(problems, atLeast("--rate", *c.Rate, 1))
	}
	return errors.Join(problems...)
}

// selection is the selection that the flags make, without the event ids.
func (c *replayCommand) selection() replay.Selection {
	var s replay.Selection
	if !c.Since.IsZero() {
		s.Since = &c.Since.Time
	}
	if !c.Until.IsZero() {
		s.Until = &c.Until.Time
	}
	if aggregateType, id, ok := strings.Cut(c.Aggregate, "/"); ok {
		s.AggregateType, s.AggregateID = &aggregateType, &id
	}
	return s
}

// begin shows the selected events, and starts the replay if --yes is set.
func (c *replayCommand) begin(ctx context.Context, console *replayConsole) error {
	if _, err := c.horizon(ctx, console); err != nil { // before rows of a wrong table are looked up
		return err
	}
	selection := c.selection()
	if len(c.EventID) > 0 {
		var missing []string
		var err error
		if selection.Seqs, missing, err = console.operator.FindIDs(ctx, c.EventID); err != nil {
			return err
		}
		console.form.MissingIDs = missing
		for _, id := range missing {
			fmt.Fprintf(console.out, "event %s cannot be replayed, because no row of %s has it: it was never "+
				"written, or RELAY_RETENTION removed it\n", id, c.Table)
		}
	}
	plan, err := c.plan(ctx, console, selection)
	if err != nil {
		return err
	}
	console.form.plan(plan)
	if err := c.show(console.out, plan); err != nil {
		return err
	}
	rate := defaultRate
	if c.Rate != nil {
		rate = *c.Rate
	}
	switch {
	case plan.Events == 0:
		return errors.New("no event that was delivered is selected")
	case !c.Yes:
		fmt.Fprintf(console.out, "nothing is sent yet: with --yes the relay that holds slot %s sends them, %d a "+
			"second\n", c.Slot, rate)
		_, err := console.warnUnheld(ctx)
		return err
	}
	asked, err := console.operator.Begin(ctx, plan, rate)
	if err != nil {
		return err
	}
	fmt.Fprintf(console.out, "replay %d: the relay that holds slot %s sends them, %d a second\n", asked.ID, c.Slot,
		rate)
	return c.wait(ctx, console, asked)
}

// plan selects the events to send. A delivery counts once the checkpoint row has it. With --yes,
// plan waits for that if it concerns events that the operator names, or all that are selected.
func (c *replayCommand) plan(ctx context.Context, console *replayConsole, selection replay.Selection) (replay.Plan,
	error,
) {
	var plan replay.Plan
	deadline := time.Now().Add(recordedTimeout)
	err := console.await(ctx, func(ctx context.Context) (done bool, err error) {
		horizon, err := c.horizon(ctx, console)
		if err != nil {
			return false, err
		}
		plan, err = console.operator.Plan(ctx, selection, horizon)
		waits := c.Yes && plan.Undelivered > 0 && (plan.Events == 0 || len(c.EventID) > 0)
		return !waits || time.Now().After(deadline), err
	}, func() string {
		return fmt.Sprintf("waiting until the relay records that it delivered %d of the events", plan.Undelivered)
	})
	return plan, err
}

// horizon returns the pg_snapshot up to which events count as delivered.
func (c *replayCommand) horizon(ctx context.Context, console *replayConsole) (string, error) {
	row, err := checkpoint.NewStore(console.pool, c.Slot).Load(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case row == nil:
		return "", fmt.Errorf("no relay has used slot %s, so no event was delivered: name the relay's slot in "+
			"RELAY_SLOT", c.Slot)
	case row.Table != console.table.Key():
		return "", fmt.Errorf("slot %s relays table %s, and RELAY_TABLE is %s: set RELAY_TABLE to the relay's "+
			"table, or RELAY_SLOT to its slot", c.Slot, row.Table, console.table)
	case row.Horizon == "":
		return "", fmt.Errorf("the relay of slot %s has not delivered anything yet: relay status shows its progress",
			c.Slot)
	}
	return row.Horizon, nil
}

func (c *replayCommand) resume(ctx context.Context, console *replayConsole) error {
	rate := 0 // 0 keeps the rate
	if c.Rate != nil {
		rate = *c.Rate
	}
	asked, err := console.operator.Resume(ctx, c.Resume, rate)
	if err != nil {
		return err
	}
	if asked.State != replay.Done {
		fmt.Fprintf(console.out, "replay %d: continuing, %d a second\n", asked.ID, asked.Rate)
	}
	return c.wait(ctx, console, asked)
}

func (c *replayCommand) stop(ctx context.Context, console *replayConsole) error {
	asked, err := console.operator.Stop(ctx, c.Stop)
	if err != nil {
		return err
	}
	console.form.set(asked)
	_, err = fmt.Fprintf(console.out, "replay %d is %s: %s\n", asked.ID, asked.State, progressOf(asked))
	return err
}

func (c *replayCommand) wait(ctx context.Context, console *replayConsole, asked *replay.Replay) error {
	console.form.set(asked)
	if c.NoWait {
		_, err := console.warnUnheld(ctx)
		return err
	}
	return console.watch(ctx, asked)
}

// progressOf describes the progress of a replay.
func progressOf(r *replay.Replay) string {
	text := fmt.Sprintf("%d of %d events sent", r.Sent, r.Events)
	if r.Refused > 0 {
		text += fmt.Sprintf(", %d refused by their destination, the last one %s (the relay's log names each)",
			r.Refused, r.LastRefusal)
	}
	return text
}
