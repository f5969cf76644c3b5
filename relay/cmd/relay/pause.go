package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
	"github.com/outbox-relay/outbox-relay/relay/internal/status"
)

// pauseCommand has the running relay send nothing to a destination.
type pauseCommand struct {
	Destination string `arg:"" help:"Topic, queue or event bus: its ARN, or its name."`
	Reason      string `placeholder:"TEXT" help:"Why it is paused: relay status shows that."`
	NoWait      bool   `help:"Do not wait until the relay has stopped sending."`
	JSON        bool   `name:"json" help:"Print the outcome as JSON, and the progress on stderr."`

	database `embed:"" group:"Postgres"`
	source   `embed:"" group:"Outbox table, with the relay's settings"`
}

// Run requests the pause, and waits until it is in effect.
func (c *pauseCommand) Run(ctx context.Context, w io.Writer) error {
	table, problems := c.table()
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	return c.with(ctx, func(pool *pgxpool.Pool) error {
		table, err := members.Look(ctx, pool, table)
		if err != nil {
			return explain(err)
		}
		missing, err := deferral.MissingForAll(ctx, pool, table, deferral.RowsStay(c.RowsStay))
		switch {
		case err != nil:
			return explain(err)
		case missing != "":
			return fmt.Errorf("events of a paused destination cannot wait in table %s: %s. Nothing is paused. See "+
				"relay/docs/table.md for what a table needs", table, missing)
		}
		console := newPauseConsole(pool, c.Slot, c.JSON, w)
		return console.report(c.pause(ctx, console, table.String()))
	})
}

func (c *pauseCommand) pause(ctx context.Context, console *pauseConsole, table string) error {
	now, err := status.Collect(ctx, console.pool, c.Slot)
	if err != nil {
		return err
	}
	if now.Table != "" && now.Table != table {
		return fmt.Errorf("slot %s relays table %s, and RELAY_TABLE is %s: set RELAY_TABLE to the relay's table, or "+
			"RELAY_SLOT to its slot", c.Slot, now.Table, table)
	}
	if console.operator.Destination, err = findDestination(c.Destination, c.Slot, routed(now)); err != nil {
		return err
	}
	began, err := console.operator.Begin(ctx, c.Reason)
	if err != nil {
		return err
	}
	console.form.Action = "paused"
	if !began {
		console.form.Action = "already_paused"
	}
	fmt.Fprintf(console.out, "%s is paused: the relay that holds slot %s stops sending to it, and its events wait in "+
		"table %s until relay resume\n", console.operator.Destination, c.Slot, table)
	if c.NoWait {
		_, err := console.warnUnheld(ctx)
		return err
	}
	return console.awaitPause(ctx)
}

// resumeCommand has the running relay send to a destination again.
type resumeCommand struct {
	Destination string `arg:"" help:"Topic, queue or event bus: its ARN, or its name."`
	NoWait      bool   `help:"Do not wait until the events that wait are delivered."`
	JSON        bool   `name:"json" help:"Print the outcome as JSON, and the progress on stderr."`

	database `embed:"" group:"Postgres"`
	Slot     string `env:"RELAY_SLOT" default:"outbox_relay" help:"Replication slot of the relay." group:"Postgres"`
}

// Run ends the pause, and waits until the events that waited are delivered.
func (c *resumeCommand) Run(ctx context.Context, w io.Writer) error {
	return c.with(ctx, func(pool *pgxpool.Pool) error {
		console := newPauseConsole(pool, c.Slot, c.JSON, w)
		return console.report(c.resume(ctx, console))
	})
}

func (c *resumeCommand) resume(ctx context.Context, console *pauseConsole) error {
	now, err := status.Collect(ctx, console.pool, c.Slot)
	if err != nil {
		return err
	}
	known := routed(now)
	for _, p := range now.Pauses {
		known = append(known, p.Destination)
	}
	for _, d := range now.Deferrals {
		known = append(known, d.Destination)
	}
	if console.operator.Destination, err = findDestination(c.Destination, c.Slot, known); err != nil {
		return err
	}
	ended, err := console.operator.End(ctx)
	if err != nil {
		return err
	}
	found, err := console.look(ctx)
	switch {
	case err != nil:
		return err
	case ended:
		console.form.Action = "resumed"
		fmt.Fprintf(console.out, "%s is resumed: the relay that holds slot %s delivers the events that wait for it, "+
			"in order: about %d\n", console.operator.Destination, c.Slot, found.Events)
	case !found.Waits:
		return fmt.Errorf("%s is not paused, and no event waits for it", console.operator.Destination)
	default:
		fmt.Fprintf(console.out, "%s is not paused, and about %s for it: relay status says why\n",
			console.operator.Destination, span.EventsWait(found.Events))
	}
	if c.NoWait {
		_, err := console.warnUnheld(ctx)
		return err
	}
	return console.awaitDelivered(ctx, found)
}
