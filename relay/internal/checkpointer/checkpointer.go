// Package checkpointer writes the checkpoint row and watches the fence.
package checkpointer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/backlog"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

const (
	// keepInterval is how often the fence is looked at, and how often the row is written while events flow.
	keepInterval = time.Second
	// idleInterval is how often the row is written while none do: only keepalives move the position then.
	idleInterval = 5 * time.Second
	// idleWAL is how many bytes of log must have passed by then: more than the row's own write makes, or each write would be
	// the reason for the next. An update is about 200 bytes; after a checkpoint of the server, 8 KB with the page.
	idleWAL = 16 << 10
)

// Checkpointer sees that the slot is still held, writes the checkpoint row, and lets the stream confirm
// only what the row says. It advances the horizon.
type Checkpointer struct {
	Deps
	saved            checkpoint.Position
	savedAt          time.Time
	savedDelivered   uint64 // events delivered when the row was last written
	horizonDelivered uint64 // events delivered when the row's horizon was observed
	horizonSaved     bool   // by this session: the one before may have ended before its last events were in one
	pending          audit.Horizon
	suspicion        audit.Suspicion
	allayed          chan struct{} // closed when the row says that the publication is as it was
	guard            guard
}

// Deps are what a [Checkpointer] works with.
type Deps struct {
	Pool        *pgxpool.Pool
	Store       *checkpoint.Store
	Fence       slot.Fence
	Row         *checkpoint.Row // as the session found it
	Publication slot.Publication
	Stream      *replication.Stream
	Lease       *slot.Lease
	Tracker     *checkpoint.Tracker
	Auditor     *audit.Auditor
	Begun       <-chan struct{} // closed once the stream is read
	Timeout     time.Duration   // wal_sender_timeout of the stream
	Backlog     *backlog.Watch
	Health      *health.Health
	Metrics     *health.Metrics
	Log         *slog.Logger
}

// New returns a Checkpointer that has written nothing yet.
func New(deps Deps) *Checkpointer {
	return &Checkpointer{
		Deps: deps, saved: deps.Row.Position, savedAt: time.Now(), allayed: make(chan struct{}),
		guard: guard{slot: deps.Fence.Slot, health: deps.Health, log: deps.Log},
	}
}

// Allayed returns a channel that is closed when a suspicion has ended and no event is missing. The
// session has to end then: its walsender may remember the publication as it was in between.
func (c *Checkpointer) Allayed() <-chan struct{} { return c.allayed }

// Run keeps until ctx ends, then it returns nil, or until the slot is no longer held or cannot be seen to be.
func (c *Checkpointer) Run(ctx context.Context) error {
	ticker := time.NewTicker(min(keepInterval, c.Timeout/8))
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

// tick looks and writes once. A recovery beside the slot starts its stream a second time on the same
// connection, and the server releases the slot for a moment. It also releases the slot where it cannot
// decode the log, while the relay still has what came before that to deliver. A look at a free slot
// does not extend the lease, and does not end the session. The position is stored all the same, or a
// session that delivers slowly would begin where the last one began.
func (c *Checkpointer) tick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout/2)
	defer cancel()
	err := c.keep(ctx)
	if !errors.Is(err, slot.ErrFenced) || !c.Row.IsBeside() {
		return err
	}
	return c.Store.SaveUnclaimed(ctx, c.Fence, c.Tracker.Position())
}

func (c *Checkpointer) keep(ctx context.Context) error {
	if err := c.observe(ctx); err != nil {
		return err
	}
	switch position := c.Tracker.Position(); {
	case c.isDue(position):
		return c.Save(ctx, position)
	case c.reached(position): // the row's covers as much; the next one has the audit go on, also while nothing is delivered
		c.pending = audit.Horizon{}
	}
	return nil
}

// observe looks at the fence and the publication, and takes a new horizon to wait for when there is none.
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
	c.guard.saw(seen.Danger())
	if c.Row.Recovery.IsMarked() { // neither the publication nor a horizon means anything before the recovery
		return nil
	}
	if err := c.suspect(seen); err != nil {
		return err
	}
	c.tellBacklog(seen, before)
	if c.pending.Snapshot == "" {
		c.pending = audit.Horizon{Snapshot: seen.Snapshot, LSN: seen.InsertLSN, Delivered: delivered, Suspicion: c.suspicion}
		c.Auditor.Expect(c.pending)
	}
	return nil
}

// tellBacklog says how far the stream is delivered. Before it is read, its position says nothing
// about the rows of a recovery.
func (c *Checkpointer) tellBacklog(seen slot.Observation, before time.Time) {
	select {
	case <-c.Begun:
		c.Backlog.Flush(c.Tracker.Position().FlushLSN)
		c.Backlog.Observe(seen.Snapshot, seen.InsertLSN, before)
	default:
	}
}

// isDue reports whether the row has to be written: events were delivered since, or a horizon that covers more of them is
// reached or one that ends a suspicion, or, while there are none, enough of the log went by.
func (c *Checkpointer) isDue(p checkpoint.Position) bool {
	switch {
	case c.Tracker.Load().Delivered > c.savedDelivered:
		return true
	case c.reached(p) && c.allays():
		return true
	case c.reached(p) && (c.pending.Delivered > c.horizonDelivered || !c.horizonSaved):
		return true
	}
	return time.Since(c.savedAt) >= idleInterval && p.FlushLSN > c.saved.FlushLSN+idleWAL
}

// Save writes the row, and only then lets the stream confirm its position.
func (c *Checkpointer) Save(ctx context.Context, p checkpoint.Position) error {
	before, delivered := time.Now(), c.Tracker.Load().Delivered
	reached := c.reached(p)
	var h checkpoint.Horizon
	if reached {
		h.Snapshot = c.pending.Snapshot
	}
	allays := reached && c.allays()
	if allays {
		h.Fingerprint = c.suspicion.Fingerprint
	}
	if err := c.Store.Save(ctx, c.Fence, p, h); err != nil {
		return err
	}
	if reached {
		c.horizonDelivered, c.horizonSaved, c.pending = c.pending.Delivered, true, audit.Horizon{}
	}
	if allays {
		c.allay()
	}
	c.Lease.Renew(before, c.Stream.LastStatusAt())
	c.saved, c.savedAt, c.savedDelivered = p, before, delivered
	c.Stream.Confirm(p.FlushLSN)
	c.Metrics.Saved(p)
	return nil
}

// reached reports whether everything that is visible in the pending horizon is delivered at p, and the audit agrees.
func (c *Checkpointer) reached(p checkpoint.Position) bool {
	return c.pending.Snapshot != "" && p.FlushLSN >= c.pending.LSN && c.Auditor.Agrees(c.pending)
}
