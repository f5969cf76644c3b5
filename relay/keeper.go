package relay

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
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

// keeper sees that the slot is still held, writes the checkpoint row, and lets the stream confirm only what the row says.
// It advances the horizon.
type keeper struct {
	*session
	saved            checkpoint.Position
	savedAt          time.Time
	savedDelivered   uint64 // events delivered when the row was last written
	horizonDelivered uint64 // events delivered when the row's horizon was observed
	horizonSaved     bool   // by this session: the one before may have ended before its last events were in one
	pending          horizon
	suspicion        suspicion
	allayed          chan struct{} // closed when the row says that the publication is as it was
	guard            guard
}

// horizon is a snapshot, and the position by which everything that is visible in it has been streamed.
type horizon struct {
	snapshot  string
	lsn       pglogrepl.LSN
	delivered uint64 // events, by the time it was observed
	suspicion suspicion
}

func newKeeper(s *session) *keeper {
	return &keeper{session: s, saved: s.held.row.Position, savedAt: time.Now(), allayed: make(chan struct{}), guard: guard{relay: s.relay}}
}

// run keeps until ctx ends, then it returns nil, or until the slot is no longer held or cannot be seen to be.
func (k *keeper) run(ctx context.Context) error {
	ticker := time.NewTicker(min(keepInterval, k.SenderTimeout/8))
	defer ticker.Stop()
	for {
		if err := k.tick(ctx); err != nil && ctx.Err() == nil {
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
func (k *keeper) tick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.SenderTimeout/2)
	defer cancel()
	err := k.keep(ctx)
	if !errors.Is(err, slot.ErrFenced) || !k.held.row.IsBeside() {
		return err
	}
	return k.store.SaveUnclaimed(ctx, k.held.fence, k.tracker.Position())
}

func (k *keeper) keep(ctx context.Context) error {
	if err := k.observe(ctx); err != nil {
		return err
	}
	switch position := k.tracker.Position(); {
	case k.isDue(position):
		return k.save(ctx, position)
	case k.reached(position): // the row's covers as much; the next one has the audit go on, also while nothing is delivered
		k.pending = horizon{}
	}
	return nil
}

// observe looks at the fence and the publication, and takes a new horizon to wait for when there is none.
func (k *keeper) observe(ctx context.Context) error {
	before, delivered := time.Now(), k.tracker.Load().Delivered
	seen, err := slot.Observe(ctx, k.pool, k.held.fence, k.publication())
	if err != nil {
		return err
	}
	if !seen.Held {
		return slot.ErrFenced
	}
	k.lease.Saw(before, k.held.stream.ToldAt())
	k.Health.Alive()
	k.Metrics.Observed(k.tracker.Load(), seen)
	k.guard.saw(seen.Danger())
	if k.held.row.Recovery.IsMarked() { // neither the publication nor a horizon means anything before the recovery
		return nil
	}
	if err := k.suspect(seen); err != nil {
		return err
	}
	k.tellBacklog(seen, before)
	if k.pending.snapshot == "" {
		k.pending = horizon{snapshot: seen.Snapshot, lsn: seen.InsertLSN, delivered: delivered, suspicion: k.suspicion}
		k.auditor.expect(k.pending)
	}
	return nil
}

// tellBacklog says how far the stream is delivered. Before it is read, its position says nothing
// about the rows of a recovery.
func (k *keeper) tellBacklog(seen slot.Observation, before time.Time) {
	select {
	case <-k.intake.begun:
		k.Backlog.Flush(k.tracker.Position().FlushLSN)
		k.Backlog.Observe(seen.Snapshot, seen.InsertLSN, before)
	default:
	}
}

// isDue reports whether the row has to be written: events were delivered since, or a horizon that covers more of them is
// reached or one that ends a suspicion, or, while there are none, enough of the log went by.
func (k *keeper) isDue(p checkpoint.Position) bool {
	switch {
	case k.tracker.Load().Delivered > k.savedDelivered:
		return true
	case k.reached(p) && k.allays():
		return true
	case k.reached(p) && (k.pending.delivered > k.horizonDelivered || !k.horizonSaved):
		return true
	}
	return time.Since(k.savedAt) >= idleInterval && p.FlushLSN > k.saved.FlushLSN+idleWAL
}

// save writes the row, and only then lets the stream confirm its position.
func (k *keeper) save(ctx context.Context, p checkpoint.Position) error {
	before, delivered := time.Now(), k.tracker.Load().Delivered
	reached := k.reached(p)
	var h checkpoint.Horizon
	if reached {
		h.Snapshot = k.pending.snapshot
	}
	allays := reached && k.allays()
	if allays {
		h.Fingerprint = k.suspicion.fingerprint
	}
	if err := k.store.Save(ctx, k.held.fence, p, h); err != nil {
		return err
	}
	if reached {
		k.horizonDelivered, k.horizonSaved, k.pending = k.pending.delivered, true, horizon{}
	}
	if allays {
		k.allay()
	}
	k.lease.Saw(before, k.held.stream.ToldAt())
	k.saved, k.savedAt, k.savedDelivered = p, before, delivered
	k.held.stream.Confirm(p.FlushLSN)
	k.Metrics.Saved(p)
	return nil
}

// reached reports whether everything that is visible in the pending horizon is delivered at p, and the audit agrees.
func (k *keeper) reached(p checkpoint.Position) bool {
	return k.pending.snapshot != "" && p.FlushLSN >= k.pending.lsn && k.auditor.agrees(k.pending)
}
