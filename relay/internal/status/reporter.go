package status

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// tick is how often a relay checks whether it has news to report. The check only reads memory.
	tick = 200 * time.Millisecond
	// flowingInterval and idleInterval are the longest pauses between two reports, while events
	// flow and while they do not.
	flowingInterval, idleInterval = 5 * time.Second, 10 * time.Second
	// saveTimeout bounds one report, and stopTimeout the last report of a relay that stops.
	saveTimeout, stopTimeout = 5 * time.Second, time.Second
)

// stopped is the state of a relay that has ended regularly.
const stopped = "stopped"

// Reporter writes the state of this relay to the database at each change, and every few seconds.
type Reporter struct {
	Slot string
	// Look returns the current state.
	Look func() Report
	Open func(context.Context) (*pgxpool.Pool, error) // returns the same pool each time
	Log  *slog.Logger

	last    Report
	savedAt time.Time
}

// Run reports until ctx ends, and then reports that the relay has stopped. A report that fails is
// replaced by the next one. The relay works without reports.
func (r *Reporter) Run(ctx context.Context) {
	for first := true; ctx.Err() == nil; task.Sleep(ctx, tick) {
		if now := r.Look(); r.savedAt.IsZero() || r.isDue(now) {
			first = !r.report(ctx, now, first) && first
		}
	}
	now := r.Look()
	now.State, now.Since = stopped, time.Now()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	r.report(last, now, false)
}

// isDue reports whether now has news, or the last report is old.
func (r *Reporter) isDue(now Report) bool {
	idle := now.Events.InFlight == 0 && now.Events.Delivered == r.last.Events.Delivered
	interval := flowingInterval
	if idle {
		interval = idleInterval
	}
	return differs(r.last, now) || time.Since(r.savedAt) >= interval
}

// differs reports whether more than numbers has changed.
func differs(a, b Report) bool {
	if a.State != b.State || a.Error != b.Error || a.Events.isDelayed() != b.Events.isDelayed() ||
		len(a.Warnings) != len(b.Warnings) || len(a.Destinations) != len(b.Destinations) {
		return true
	}
	for i, d := range b.Destinations {
		if d.State != a.Destinations[i].State || d.Code != a.Destinations[i].Code {
			return true
		}
	}
	return false
}

// report stores now, and reports whether that succeeded.
func (r *Reporter) report(ctx context.Context, now Report, first bool) bool {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if seconds := time.Since(r.savedAt).Seconds(); !r.savedAt.IsZero() {
		now.Events.ReadPerSecond = float64(now.Events.read-r.last.Events.read) / seconds
		now.Events.DeliveredPerSecond = float64(now.Events.Delivered-r.last.Events.Delivered) / seconds
	}
	err := r.save(ctx, now, first)
	r.last, r.savedAt = now, time.Now()
	if err != nil {
		r.Log.Debug("status: reporting again soon", "slot", r.Slot, "err", err)
	}
	return err == nil
}

func (r *Reporter) save(ctx context.Context, now Report, first bool) error {
	pool, err := r.Open(ctx)
	if err != nil {
		return err
	}
	if err = save(ctx, pool, r.Slot, now); err == nil && first {
		err = forget(ctx, pool, r.Slot)
	}
	if err != nil {
		pool.Reset() // a connection that failed is not used again
	}
	return err
}
