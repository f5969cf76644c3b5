package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
)

// deadLetters are the commands for events that a destination refused.
type deadLetters struct {
	List    listLetters    `cmd:"" help:"List dead letters, the oldest first."`
	Show    showLetter     `cmd:"" help:"Show dead letters with all details, as JSON."`
	Redrive redriveLetters `cmd:"" help:"Tell the running relay to send parked events again, in the order of their aggregate."`
	Discard discardLetters `cmd:"" help:"Discard parked events, so that the events behind them flow."`
}

// selection selects dead letters.
type selection struct {
	database
	Positions   []int64 `arg:"" optional:"" name:"position" help:"Positions, as list shows them."`
	EventID     string  `name:"event-id" help:"Those of this event."`
	Destination string  `help:"Those of this destination."`
	Group       string  `help:"Those of this message group, which is one aggregate."`
	Code        string  `help:"Those that were refused with this code."`
}

func (s selection) selection(states ...string) deadletter.Selection {
	return deadletter.Selection{
		Positions: s.Positions, EventID: s.EventID, Destination: s.Destination, Group: s.Group, Code: s.Code,
		States: states,
	}
}

// with calls do with a connection pool.
func (d database) with(ctx context.Context, do func(*pgxpool.Pool) error) error {
	pool, err := control.OpenPool(ctx, d.connect)
	if err != nil {
		return err
	}
	defer pool.Close()
	return do(pool)
}

type listLetters struct {
	selection
	State []string `default:"parked,redriving" enum:"parked,redriving,redriven,discarded" help:"States: parked, redriving, redriven, discarded."`
	Limit int      `default:"50" help:"Number of dead letters to list; 0 for all."`
}

// Run lists dead letters.
func (c *listLetters) Run(ctx context.Context, w io.Writer) error {
	return c.with(ctx, func(pool *pgxpool.Pool) error {
		wanted := c.selection.selection(c.State...)
		wanted.Limit = c.Limit
		letters, err := deadletter.List(ctx, pool, wanted)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "position\tstate\tparked at\tevent\tgroup\tdestination\treason")
		for _, l := range letters {
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s: %s\n", l.Position, l.State,
				l.ParkedAt.UTC().Format("2006-01-02 15:04:05Z"),
				l.EventID, l.MessageGroup, shortName(l.Destination), l.Code, l.Reason)
		}
		fmt.Fprintf(table, "%d dead letters\n", len(letters))
		return table.Flush()
	})
}

// shortName returns the name of a topic or queue without the rest of its ARN or URL.
func shortName(destination string) string {
	return destination[strings.LastIndexAny(destination, ":/")+1:]
}

type showLetter struct {
	selection
	All bool `help:"All dead letters."`
}

// Run shows dead letters.
func (c *showLetter) Run(ctx context.Context, w io.Writer) error {
	wanted := c.selection.selection()
	if wanted.IsEmpty() != c.All {
		return deadletter.ErrNothingSelected
	}
	return c.with(ctx, func(pool *pgxpool.Pool) error {
		letters, err := deadletter.List(ctx, pool, wanted)
		if err != nil {
			return err
		}
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		for _, l := range letters {
			if err := encoder.Encode(l); err != nil {
				return err
			}
		}
		return nil
	})
}

type redriveLetters struct {
	selection
	All    bool `help:"All parked events; with --cancel all that are being redriven."`
	Cancel bool `help:"Keep events parked that are being redriven, with those of their message groups."`
}

// Run marks dead letters for the running relay.
func (c *redriveLetters) Run(ctx context.Context, w io.Writer) error {
	if c.Cancel {
		return c.mark(ctx, w, c.All, deadletter.CancelRedrive,
			"%d events stay parked; one that was being sent may still arrive\n")
	}
	return c.mark(ctx, w, c.All, deadletter.MarkRedriving,
		"marked %d of the parked events: the relay that holds the slot sends them again, in order\n")
}

type discardLetters struct {
	selection
	All bool `help:"All parked events."`
}

// Run discards dead letters.
func (c *discardLetters) Run(ctx context.Context, w io.Writer) error {
	return c.mark(ctx, w, c.All, deadletter.MarkDiscarded,
		"discarded %d of the parked events: the events behind them flow\n")
}

func (s selection) mark(ctx context.Context, w io.Writer, all bool,
	mark func(context.Context, *pgxpool.Pool, deadletter.Selection) (int64, error), said string,
) error {
	wanted := s.selection()
	if wanted.IsEmpty() != all {
		return deadletter.ErrNothingSelected
	}
	return s.with(ctx, func(pool *pgxpool.Pool) error {
		n, err := mark(ctx, pool, wanted)
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("no event in that state is selected: relay dead-letters list shows the parked events")
		}
		_, err = fmt.Fprintf(w, said, n)
		return err
	})
}
