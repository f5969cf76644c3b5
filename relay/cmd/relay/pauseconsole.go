package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/pause"
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
	"github.com/outbox-relay/outbox-relay/relay/internal/status"
)

// pauseForm is the JSON form of the outcome.
type pauseForm struct {
	Version     int    `json:"version"`
	Slot        string `json:"slot"`
	Destination string `json:"destination"`
	// paused, already_paused or resumed; not_paused if events wait for another reason
	Action   string `json:"action"`
	InEffect bool   `json:"in_effect"` // nothing is sent to the destination
	Events   int64  `json:"events"`    // about how many wait in the outbox table
}

// pauseConsole shows the operator how far the relay is.
type pauseConsole struct {
	waiter
	operator pause.Operator
	json     bool
	w        io.Writer // of the JSON form
	form     pauseForm
	pace     pace
}

// await waits until isDone, and shows the progress. left is the error if ctx ends first.
func (c *pauseConsole) await(
	ctx context.Context, isDone func(pause.Progress) bool, progress func(pause.Progress) string, left string,
) error {
	var found pause.Progress
	err := c.waiter.await(ctx, func(ctx context.Context) (done bool, err error) {
		if found, err = c.look(ctx); err != nil {
			return false, err
		}
		return isDone(found), nil
	}, func() string { return progress(found) })
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New(left)
	}
	return fmt.Errorf("%w. %s", err, left)
}

func newPauseConsole(pool *pgxpool.Pool, slot string, json bool, w io.Writer) *pauseConsole {
	c := &pauseConsole{
		waiter: waiter{pool: pool, slot: slot, out: w}, operator: pause.Operator{Pool: pool, Slot: slot},
		json: json, w: w,
		form: pauseForm{Version: formatVersion, Slot: slot, Action: "not_paused"},
	}
	if json {
		c.out = &terminal{out: os.Stderr}
	}
	return c
}

// report prints the JSON form, if it is asked for.
func (c *pauseConsole) report(err error) error {
	if err = explain(err); !c.json || c.operator.Destination == "" {
		return err
	}
	c.form.Destination = c.operator.Destination
	return errors.Join(err, printJSON(c.w, c.form))
}

func (c *pauseConsole) look(ctx context.Context) (pause.Progress, error) {
	found, err := c.operator.Look(ctx)
	if err == nil {
		c.form.InEffect, c.form.Events = found.InEffect, found.Events
	}
	return found, err
}

// awaitPause waits until the relay has stopped sending.
func (c *pauseConsole) awaitPause(ctx context.Context) error {
	err := c.await(ctx, func(p pause.Progress) bool { return p.InEffect || p.Since == nil },
		func(pause.Progress) string {
			return "waiting until the last request has ended and the events wait in the table"
		}, "The pause is stored, and the relay takes it up: relay status shows that")
	switch {
	case err != nil:
		return err
	case !c.form.InEffect:
		return fmt.Errorf("the pause of %s was ended meanwhile: another operator ran relay resume",
			c.operator.Destination)
	}
	_, err = fmt.Fprintf(c.out, "in effect: nothing is sent to %s any more, and about %s\n",
		c.operator.Destination, span.EventsWait(c.form.Events))
	return err
}

// awaitDelivered waits until no event waits any more.
func (c *pauseConsole) awaitDelivered(ctx context.Context, first pause.Progress) error {
	most, again := first.Events, false
	err := c.await(ctx, func(p pause.Progress) bool {
		again = p.Since != nil
		return again || !p.Waits
	}, func(p pause.Progress) string {
		most = max(most, p.Events)
		c.pace.add(time.Now(), most-p.Events)
		return "about " + c.pace.describe(p.Events)
	}, "The relay continues to deliver what waits: relay status shows the progress")
	switch {
	case err != nil:
		return err
	case again:
		return fmt.Errorf("%s was paused again meanwhile: about %s", c.operator.Destination,
			span.EventsWait(c.form.Events))
	}
	_, err = fmt.Fprintf(c.out, "done: no event waits for %s any more\n", c.operator.Destination)
	return err
}

// routed returns the destinations to which the routes of the relays lead, as they report.
func routed(s *status.Status) (names []string) {
	isHeard := slices.ContainsFunc(s.Relays, status.Relay.IsHeard)
	for _, r := range s.Relays {
		if isHeard && !r.IsHeard() {
			continue
		}
		for _, d := range r.Destinations {
			names = append(names, d.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// findDestination returns the ARN of a destination that is named by its ARN, its URL or its name.
func findDestination(wanted, slot string, known []string) (string, error) {
	slices.Sort(known)
	known = slices.Compact(known)
	if len(known) == 0 && strings.HasPrefix(wanted, "arn:") {
		return wanted, nil // no relay has run yet that could contradict
	}
	var found []string
	for _, name := range known {
		isURL := strings.Contains(wanted, "://") && shortName(name) == shortName(wanted)
		if name == wanted || shortName(name) == wanted || isURL {
			found = append(found, name)
		}
	}
	switch {
	case len(known) == 0:
		return "", fmt.Errorf("no relay of slot %s has reported its destinations: name the destination by its ARN, or "+
			"set RELAY_SLOT to the relay's slot", slot)
	case len(found) == 0:
		return "", fmt.Errorf("the relay of slot %s has no destination %s, and has these: %s",
			slot, wanted, strings.Join(known, ", "))
	case len(found) > 1:
		return "", fmt.Errorf("several destinations are named %s: choose one of %s", wanted, strings.Join(found, ", "))
	}
	return found[0], nil
}
