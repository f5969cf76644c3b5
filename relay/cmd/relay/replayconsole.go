package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// progressOf describes the progress of a replay.
func progressOf(r *replay.Replay) string {
	text := fmt.Sprintf("%d of %d events sent", r.Sent, r.Events)
	if r.Refused > 0 {
		text += fmt.Sprintf(", %d refused by their destination, the last one %s (the relay's log names each)",
			r.Refused, r.LastRefusal)
	}
	return text
}

const (
	// lookInterval is the pause between two reads of the replay. progressInterval is the time
	// between two lines of progress.
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
	out      io.Writer
}

// watch shows the progress of asked until the replay is done. When ctx ends, watch stops the
// replay.
func (c *replayConsole) watch(ctx context.Context, asked *replay.Replay) error {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for before, reportedAt := asked, time.Now(); asked.State == replay.Running; {
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
		if asked = now; time.Since(reportedAt) >= progressInterval && asked.State == replay.Running {
			if err := c.report(ctx, before, asked, time.Since(reportedAt)); err != nil && ctx.Err() == nil {
				return err
			}
			before, reportedAt = asked, time.Now()
		}
	}
	if asked.State == replay.Stopped {
		return fmt.Errorf("replay %d was stopped: %s; relay replay --resume %[1]d continues it",
			asked.ID, progressOf(asked))
	}
	if gone := asked.Events - asked.Sent - asked.Refused; gone > 0 {
		fmt.Fprintf(c.out, "%d events were excluded: they were removed or parked in the meantime\n", gone)
	}
	fmt.Fprintf(c.out, "replay %d is done: %s\n", asked.ID, progressOf(asked))
	if asked.Refused > 0 {
		return fmt.Errorf("%d events were refused", asked.Refused)
	}
	return nil
}

// report prints the progress of a replay, and the reason if no relay runs.
func (c *replayConsole) report(ctx context.Context, before, now *replay.Replay, took time.Duration) error {
	if held, err := c.warn(ctx); err != nil || !held {
		return err
	}
	left := now.Events - now.Sent - now.Refused
	rate := float64(now.Sent+now.Refused-before.Sent-before.Refused) / took.Seconds()
	text := fmt.Sprintf("%s, %.0f a second, %d left", progressOf(now), rate, left)
	if rate > 0 {
		text += fmt.Sprintf(", about %v", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	_, err := fmt.Fprintln(c.out, text)
	return err
}

// warn prints a warning if no relay holds the slot.
func (c *replayConsole) warn(ctx context.Context) (held bool, err error) {
	state, err := slot.LookUp(ctx, c.pool, c.slot)
	if err != nil || state.Active {
		return state.Active, err
	}
	_, err = fmt.Fprintf(c.out, "no relay runs: slot %s has no holder, and nothing is sent until a relay starts\n",
		c.slot)
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
	return fmt.Errorf("replay %d is %s: %s, except those in flight; relay replay --resume %[1]d continues it",
		asked.ID, asked.State, progressOf(asked))
}
