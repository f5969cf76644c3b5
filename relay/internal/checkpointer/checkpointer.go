// Package checkpointer writes the position of the Tracker to the checkpoint row. It checks the
// fence and renews the lease each second. It ends the session once another relay holds the slot.
package checkpointer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/backlog"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

const (
	// tickInterval is the longest pause between two checks of the fence. [Checkpointer.Run] checks
	// eight times in a wal_sender_timeout if that is more often. While events flow, each check also
	// writes the row.
	tickInterval = time.Second
	// idleInterval is how often it writes the row while no events flow. Only keepalives then move
	// the position.
	idleInterval = 5 * time.Second
	// idleWAL is the least amount of log between two such writes. It exceeds the log of the write
	// itself, so that a write does not cause the next one. An update takes about 200 bytes, or 8 KB
	// with the full page after a checkpoint of the server.
	idleWAL = 16 << 10
)

// Checkpointer checks that the relay still holds the slot, writes the checkpoint row, and advances
// the horizon. The stream confirms only positions that the row has.
type Checkpointer struct {
	Deps
	saved            checkpoint.Position
	savedAt          time.Time
	savedDelivered   uint64 // events delivered at the last write of the row
	horizonDelivered uint64 // events delivered when the row's horizon was observed
	horizonSaved     bool   // by this session; an earlier one may have ended before its last horizon
	pending          audit.Horizon
	suspicion        audit.Suspicion
	suspicionEnded   chan struct{} // closed when the row has the current publication
	dangers          dangerLog
}

// Deps are the dependencies of a [Checkpointer].
type Deps struct {
	Pool        *pgxpool.Pool
	Store       *checkpoint.Store
	Fence       slot.Fence
	Row         *checkpoint.Row // the row that the session found
	Publication slot.Publication
	Stream      *replication.Stream
	Lease       *slot.Lease
	Tracker     *checkpoint.Tracker
	Auditor     *audit.Auditor
	Begun       <-chan struct{}                                // closed once the stream is read
	Timeout     time.Duration                                  // wal_sender_timeout of the stream
	Observed    func(snapshot string, lsn pglogrepl.LSN) error // takes a snapshot with [slot.Observation.InsertLSN]
	Awaited     func() bool                                    // whether a deferral ends once the position moves
	Backlog     *backlog.Watch
	Health      *health.Health
	Metrics     *metrics.Metrics
	Log         *slog.Logger
}

// New returns a Checkpointer that has written nothing yet.
func New(deps Deps) *Checkpointer {
	return &Checkpointer{
		Deps: deps, saved: deps.Row.Position, savedAt: time.Now(), suspicionEnded: make(chan struct{}),
		dangers: dangerLog{slot: deps.Fence.Slot, health: deps.Health, log: deps.Log},
	}
}

// SuspicionEnded returns a channel that is closed when a suspicion has ended and no event is
// missing. The session then has to end, because its walsender may remember the publication of the
// time in between.
func (c *Checkpointer) SuspicionEnded() <-chan struct{} { return c.suspicionEnded }

// Run returns nil when ctx ends. It returns an error once the relay no longer holds the slot, or
// cannot check that it does.
func (c *Checkpointer) Run(ctx context.Context) error {
	ticker := time.NewTicker(min(tickInterval, c.Timeout/8))
	defer ticker.Stop()
	for {
		if err := c.tick(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// tick checks and writes once.
//
// In an in-place recovery the slot may be free for a moment, because the stream restarts on the
// same connection, or because the server cannot decode the log while the relay still delivers
// earlier events. A check that finds the slot free then only stores the position: it neither
// extends the lease nor ends the session. Without that write, a session that delivers slowly would
// begin where the last one began.
func (c *Checkpointer) tick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout/2)
	defer cancel()
	err := c.observeAndSave(ctx)
	if !errors.Is(err, slot.ErrFenced) || !c.Row.IsInPlace() {
		return err
	}
	return c.Store.SaveUnclaimed(ctx, c.Fence, c.Tracker.Position())
}

func (c *Checkpointer) observeAndSave(ctx context.Context) error {
	if err := c.observe(ctx); err != nil {
		return err
	}
	switch position := c.Tracker.Position(); {
	case c.isDue(position):
		return c.Save(ctx, position)
	// The row's horizon covers as much. A new pending horizon lets the audit continue while no
	// event is delivered.
	case c.reached(position):
		c.pending = audit.Horizon{}
	}
	return nil
}

// observe checks the fence and the publication. Without a pending horizon it takes a new one.
func (c *Checkpointer) observe(ctx context.Context) error {
	before, delivered := time.Now(), c.Tracker.Load().Delivered
	seen, err := slot.Observe(ctx, c.Pool, c.Fence, c.Publication)
	if err != nil {
		return err
	}
	if !seen.Held {
		return slot.ErrFenced
	}
	c.Lease.Renew(before, c.Stream.LastStatusAt())
	c.Health.Alive()
	c.Metrics.Observed(c.Tracker.Load(), seen)
	c.dangers.report(seen.Danger())
	if err := c.Observed(seen.Snapshot, seen.InsertLSN); err != nil {
		return err
	}
	// Before the recovery neither the publication nor a horizon applies.
	if c.Row.Recovery.IsMarked() {
		return nil
	}
	if err := c.suspect(seen); err != nil {
		return err
	}
	c.reportBacklog(seen, before)
	if c.pending.Snapshot == "" {
		c.pending = audit.Horizon{
			Snapshot: seen.Snapshot, LSN: seen.InsertLSN, Delivered: delivered, Suspicion: c.suspicion,
		}
		c.Auditor.Expect(c.pending)
	}
	return nil
}

// reportBacklog reports how far the stream is delivered. Before the stream is read, its position
// does not cover the rows of a recovery.
func (c *Checkpointer) reportBacklog(seen slot.Observation, before time.Time) {
	select {
	case <-c.Begun:
		c.Backlog.Flush(c.Tracker.Position().FlushLSN)
		c.Backlog.Observe(seen.Snapshot, seen.InsertLSN, before)
	default:
	}
}

// isDue reports whether to write the row. That is so when events were delivered, and when a reached
// horizon covers more events or ends a suspicion. While no events flow, it is so after
// idleInterval, if the position has moved by more than idleWAL, or by any amount while a deferral
// waits for it.
func (c *Checkpointer) isDue(p checkpoint.Position) bool {
	switch {
	case c.Tracker.Load().Delivered > c.savedDelivered:
		return true
	case c.reached(p) && c.endsSuspicion():
		return true
	case c.reached(p) && (c.pending.Delivered > c.horizonDelivered || !c.horizonSaved):
		return true
	}
	least := pglogrepl.LSN(idleWAL)
	if c.Awaited() {
		least = 0
	}
	return time.Since(c.savedAt) >= idleInterval && p.FlushLSN > c.saved.FlushLSN+least
}

// Save writes the row, and only then lets the stream confirm its position.
func (c *Checkpointer) Save(ctx context.Context, p checkpoint.Position) error {
	before, delivered := time.Now(), c.Tracker.Load().Delivered
	reached := c.reached(p)
	var h checkpoint.Horizon
	if reached {
		h.Snapshot = c.pending.Snapshot
	}
	ends := reached && c.endsSuspicion()
	if ends {
		h.Fingerprint = c.suspicion.Fingerprint
	}
	if err := c.Store.Save(ctx, c.Fence, p, h); err != nil {
		return err
	}
	if reached {
		c.horizonDelivered, c.horizonSaved, c.pending = c.pending.Delivered, true, audit.Horizon{}
	}
	if ends {
		c.endSuspicion()
	}
	c.Lease.Renew(before, c.Stream.LastStatusAt())
	c.saved, c.savedAt, c.savedDelivered = p, before, delivered
	c.Stream.Confirm(p.FlushLSN)
	c.Metrics.Saved(p)
	return nil
}

// reached reports whether everything that the pending horizon shows is delivered at p, and the
// audit agrees.
func (c *Checkpointer) reached(p checkpoint.Position) bool {
	return c.pending.Snapshot != "" && p.FlushLSN >= c.pending.LSN && c.Auditor.Agrees(c.pending)
}
