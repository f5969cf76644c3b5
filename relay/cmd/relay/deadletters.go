package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// deadLetters are the commands for events that a destination refused.
type deadLetters struct {
	List    listLetters    `cmd:"" help:"List dead letters: the causes, then the refused events, then those that wait behind them."`
	Show    showLetter     `cmd:"" help:"Show dead letters with all details, as JSON."`
	Redrive redriveLetters `cmd:"" help:"Make the running relay send parked events again, in the order of their aggregate, and report the outcome."`
	Discard discardLetters `cmd:"" help:"Discard parked events, so that the relay sends the events behind them."`
}

// selection selects dead letters of one slot and its outbox table.
type selection struct {
	database
	Slot        string  `env:"RELAY_SLOT" default:"outbox_relay" help:"Replication slot of the relay that parked them."`
	Positions   []int64 `arg:"" optional:"" name:"position" help:"Positions of dead letters, as list shows them."`
	EventID     string  `name:"event-id" help:"Dead letters of this event."`
	Destination string  `help:"Dead letters of this destination."`
	Group       string  `help:"Dead letters of this message group, which is one aggregate."`
	Code        string  `help:"Dead letters that were refused with this code."`
}

func (s selection) selection(states ...string) deadletter.Selection {
	return deadletter.Selection{
		Slot: s.Slot, Positions: s.Positions, EventID: s.EventID, Destination: s.Destination, Group: s.Group,
		Code: s.Code, States: states,
	}
}

// with calls do with a connection pool.
func (d database) with(ctx context.Context, do func(*pgxpool.Pool) error) error {
	pool, err := control.OpenWatchedPool(ctx, d.connect, showWait)
	if err != nil {
		return err
	}
	defer control.Close(pool)
	return do(pool)
}

type listLetters struct {
	selection
	State []string `default:"parked,redriving" enum:"parked,redriving,redriven,discarded" help:"States: parked, redriving, redriven, discarded."`
	Limit int      `default:"50" help:"Number of dead letters to list; 0 for all."`
	JSON  bool     `name:"json" help:"Print them as JSON."`
}

// lettersForm is the JSON form of a list of dead letters.
type lettersForm struct {
	Version     int                 `json:"version"`
	Slot        string              `json:"slot"`
	Total       int64               `json:"total"` // also of those beyond the limit
	Causes      []deadletter.Cause  `json:"causes"`
	DeadLetters []deadletter.Record `json:"dead_letters"`
}

// Run lists dead letters.
func (c *listLetters) Run(ctx context.Context, w io.Writer) error {
	return c.with(ctx, func(pool *pgxpool.Pool) error {
		form := lettersForm{Version: formatVersion, Slot: c.Slot}
		wanted := c.selection.selection(c.State...)
		var err error
		if form.Causes, err = deadletter.Causes(ctx, pool, wanted); err != nil {
			return explain(err)
		}
		wanted.Limit = c.Limit
		if form.DeadLetters, err = deadletter.List(ctx, pool, wanted); err != nil {
			return explain(err)
		}
		for _, cause := range form.Causes {
			form.Total += cause.Refused + cause.Behind
		}
		if c.JSON {
			return printJSON(w, form)
		}
		return form.write(w)
	})
}

// write writes the causes, and then the events one a line.
func (f lettersForm) write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(f.Causes) > 0 {
		fmt.Fprintln(table, "cause\tdestination\trefused\tbehind them\toldest\treason of the first")
		for _, c := range f.Causes {
			fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\t%s\n", c.Code, shortName(c.Destination), c.Refused, c.Behind,
				ago(c.OldestAt), c.Reason)
		}
		fmt.Fprintln(table)
		fmt.Fprintln(table, "position\tstate\tparked\tevent\tgroup\tdestination\twhy")
	}
	for _, l := range f.DeadLetters {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Position, l.State, ago(l.ParkedAt), l.EventID,
			l.MessageGroup, shortName(l.Destination), why(l))
	}
	if shown := int64(len(f.DeadLetters)); shown < f.Total {
		fmt.Fprintf(table, "%d of %d dead letters: --limit 0 lists all\n", shown, f.Total)
	} else {
		fmt.Fprintln(table, span.Count(f.Total, "dead letter"))
	}
	return table.Flush()
}

// why returns the reason why an event is parked.
func why(l deadletter.Record) string {
	if l.Behind != nil {
		return fmt.Sprintf("waits behind %d", *l.Behind)
	}
	return l.Code + ": " + l.Reason
}

// ago returns the age of a time, by the clock of this machine.
func ago(t time.Time) string { return span.Format(time.Since(t)) + " ago" }

// shortName returns the name of a topic or queue without the rest of its ARN or URL.
func shortName(destination string) string {
	return destination[strings.LastIndexAny(destination, ":/")+1:]
}

type showLetter struct {
	selection
	All  bool `help:"All dead letters."`
	Body bool `help:"With the whole message body; without it, only its first 1,000 bytes."`
}

// bodyShown is how many bytes of a body are shown unless the operator asks for all.
const bodyShown = 1000

// Run shows dead letters.
func (c *showLetter) Run(ctx context.Context, w io.Writer) error {
	wanted := c.selection.selection()
	if wanted.IsEmpty() != c.All {
		return deadletter.ErrNothingSelected
	}
	return c.with(ctx, func(pool *pgxpool.Pool) error {
		letters, err := deadletter.ListWhole(ctx, pool, wanted)
		if err != nil {
			return explain(err)
		}
		if len(letters) == 0 && !c.All {
			return errors.New("no dead letter of slot " + c.Slot + " is selected: relay dead-letters list shows " +
				"them, and RELAY_SLOT names the slot")
		}
		for _, l := range letters {
			if !c.Body {
				l.Message.Shorten(bodyShown)
			}
			if err := printJSON(w, l); err != nil {
				return err
			}
		}
		return nil
	})
}

type discardLetters struct {
	selection
	All bool `help:"All parked events."`
}

// Run discards dead letters.
func (c *discardLetters) Run(ctx context.Context, w io.Writer) error {
	return c.change(ctx, c.All, func(pool *pgxpool.Pool, wanted deadletter.Selection) error {
		n, err := deadletter.MarkDiscarded(ctx, pool, wanted)
		if err != nil || n == 0 {
			return c.none(err)
		}
		_, err = fmt.Fprintf(w, "discarded %d of the parked events: the relay now sends the events behind them\n", n)
		return err
	})
}

// change calls do with what the operator selected. A change of all dead letters needs --all.
func (s selection) change(ctx context.Context, all bool,
	do func(*pgxpool.Pool, deadletter.Selection) error,
) error {
	wanted := s.selection()
	if wanted.IsEmpty() != all {
		return deadletter.ErrNothingSelected
	}
	return s.with(ctx, func(pool *pgxpool.Pool) error { return do(pool, wanted) })
}

// none is the error of a change that failed, or that changed nothing.
func (s selection) none(err error) error {
	if err != nil {
		return explain(err)
	}
	return errors.New("no event in that state is selected among those of slot " + s.Slot + ": relay dead-letters " +
		"list shows the parked events, and RELAY_SLOT names the slot")
}
