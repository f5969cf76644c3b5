package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
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

const (
	// lookInterval is the pause between two reads of the progress. progressInterval is the time
	// between two lines of it.
	lookInterval     = 250 * time.Millisecond
	progressInterval = 2 * time.Second
	// stopTimeout bounds the time to stop a replay after Ctrl-C.
	stopTimeout = 10 * time.Second
)

// replayConsole shows the operator the progress of a replay.
type replayConsole struct {
	operator *replay.Operator
	pool     *pgxpool.Pool
	slot     string
	table    outboxtable.Table
	out      io.Writer
	form     replayForm
	pace     pace
}

// watch shows the progress of asked until the replay is done. When ctx ends, watch stops the
// replay.
func (c *replayConsole) watch(ctx context.Context, asked *replay.Replay) error {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for reportedAt := time.Now(); asked.State == replay.Running; {
		select {
		case <-ctx.Done():
			return c.interrupted(ctx, asked.ID)
		case <-ticker.C:
		}
		now, err := c.operator.Look(ctx, asked.ID)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%w. The replay continues: relay replay --resume %d watches it", err, asked.ID)
		}
		if err != nil {
			continue
		}
		asked = now
		c.form.set(asked)
		c.pace.add(time.Now(), asked.Sent+asked.Refused)
		if time.Since(reportedAt) >= progressInterval && asked.State == replay.Running {
			if err := c.report(ctx, asked); err != nil && ctx.Err() == nil {
				return err
			}
			reportedAt = time.Now()
		}
	}
	if asked.State == replay.Stopped {
		return fmt.Errorf("replay %d was stopped: %s; relay replay --resume %[1]d continues it",
			asked.ID, progressOf(asked))
	}
	if gone := asked.Events - asked.Sent - asked.Refused; gone > 0 {
		fmt.Fprintf(c.out, "%d events were excluded: they were removed or parked in the meantime, or "+
			"RELAY_ROUTES drops them\n", gone)
	}
	fmt.Fprintf(c.out, "replay %d is done: %s\n", asked.ID, progressOf(asked))
	if asked.Refused > 0 {
		return fmt.Errorf("%d events were refused", asked.Refused)
	}
	return nil
}

// report prints the progress of a replay, and the reason if no relay runs.
func (c *replayConsole) report(ctx context.Context, now *replay.Replay) error {
	if held, err := c.warn(ctx); err != nil || !held {
		return err
	}
	_, err := fmt.Fprintf(c.out, "%s, %s\n", progressOf(now), c.pace.describe(now.Events-now.Sent-now.Refused))
	return err
}

// warn prints a warning if no relay holds the slot.
func (c *replayConsole) warn(ctx context.Context) (held bool, err error) {
	return warnUnheld(ctx, c.pool, c.slot, c.out)
}

// warnUnheld prints a warning if no relay holds the slot.
func warnUnheld(ctx context.Context, pool *pgxpool.Pool, name string, w io.Writer) (held bool, err error) {
	state, err := slot.LookUp(ctx, pool, name)
	if err != nil || state.Active {
		return state.Active, err
	}
	_, err = fmt.Fprintf(w, "no relay runs: slot %s has no holder, and nothing is sent until a relay starts\n", name)
	return false, err
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
