package main

import (
	"context"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// replayForm is the JSON form of a replay.
type replayForm struct {
	Version    int        `json:"version"`
	Slot       string     `json:"slot"`
	Plan       *planForm  `json:"plan,omitempty"`        // of a replay that begins
	MissingIDs []string   `json:"missing_ids,omitempty"` // of --event-id: no row has them
	Replay     *stateForm `json:"replay,omitempty"`      // absent until something is sent
}

// planForm says which events a replay selects.
type planForm struct {
	Events      int64      `json:"events"`
	First       string     `json:"first,omitempty"` // creation time, as the database writes it
	Last        string     `json:"last,omitempty"`
	Kinds       []kindForm `json:"kinds"`
	Undelivered int64      `json:"undelivered"` // excluded: the relay delivers them anyway
	Parked      int64      `json:"parked"`      // excluded: dead letters
}

type kindForm struct {
	Events        int64  `json:"events"`
	AggregateType string `json:"aggregate_type"`
	EventType     string `json:"event_type"`
}

// stateForm is the progress of a replay.
type stateForm struct {
	ID          int64  `json:"id"`
	State       string `json:"state"`
	Rate        int    `json:"rate"` // events a second, at most
	Events      int64  `json:"events"`
	Sent        int64  `json:"sent"`
	Refused     int64  `json:"refused"`
	LastRefusal string `json:"last_refusal,omitempty"`
}

func (f *replayForm) plan(p replay.Plan) {
	f.Plan = &planForm{
		Events: p.Events, First: p.First, Last: p.Last, Kinds: []kindForm{},
		Undelivered: p.Undelivered, Parked: p.Parked,
	}
	for _, k := range p.Kinds {
		f.Plan.Kinds = append(f.Plan.Kinds, kindForm{k.Events, k.AggregateType, k.EventType})
	}
}

func (f *replayForm) set(r *replay.Replay) {
	f.Replay = &stateForm{r.ID, string(r.State), r.Rate, r.Events, r.Sent, r.Refused, r.LastRefusal}
}

// stopTimeout bounds the time to stop a replay after Ctrl-C.
const stopTimeout = 10 * time.Second

// replayConsole shows the operator the progress of a replay.
type replayConsole struct {
	waiter
	operator *replay.Operator
	table    outboxtable.Table
	form     replayForm
	pace     pace
}

// watch shows the progress of asked until the replay is done. When ctx ends, watch stops the
// replay.
func (c *replayConsole) watch(ctx context.Context, asked *replay.Replay) error {
	err := c.await(ctx, func(ctx context.Context) (done bool, err error) {
		now, err := c.operator.Look(ctx, asked.ID)
		if err != nil {
			return false, err
		}
		asked = now
		c.form.set(asked)
		c.pace.add(time.Now(), asked.Sent+asked.Refused)
		return asked.State != replay.Running, nil
	}, func() string {
		return progressOf(asked) + ", " + c.pace.describe(asked.Events-asked.Sent-asked.Refused)
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return c.interrupted(ctx, asked.ID)
	case err != nil:
		return fmt.Errorf("%w. The replay continues: relay replay --resume %d watches it", err, asked.ID)
	}
	return c.ended(asked)
}

// ended prints the outcome of a replay. It returns an error if the replay was stopped or an event
// was refused.
func (c *replayConsole) ended(asked *replay.Replay) error {
	if asked.State == replay.Stopped {
		return fmt.Errorf("replay %d was stopped: %s; relay replay --resume %[1]d continues it",
			asked.ID, progressOf(asked))
	}
	if excluded := asked.Events - asked.Sent - asked.Refused; excluded > 0 {
		fmt.Fprintf(c.out, "%s %s excluded: removed or parked in the meantime, or dropped by RELAY_ROUTES\n",
			span.Count(excluded, "event"), span.Verb(excluded, "was", "were"))
	}
	fmt.Fprintf(c.out, "replay %d is done: %s\n", asked.ID, progressOf(asked))
	if asked.Refused > 0 {
		return fmt.Errorf("%s %s refused", span.Count(asked.Refused, "event"), span.Verb(asked.Refused, "was", "were"))
	}
	return nil
}

// interrupted stops the watched replay.
func (c *replayConsole) interrupted(ctx context.Context, id int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	asked, err := c.operator.Stop(ctx, id)
	if err != nil {
		return fmt.Errorf("%w. The replay continues: relay replay --stop %d stops it", err, id)
	}
	c.form.set(asked)
	return fmt.Errorf("replay %d is %s: %s, except those in flight; relay replay --resume %[1]d continues it", asked.ID,
		asked.State, progressOf(asked))
}
