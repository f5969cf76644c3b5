// Package relay streams the committed events of an outbox table to SNS and SQS without losing one.
//
// The way of an event: replication.Stream reads it from the slot, ingest.Handler decodes it and registers it with the Tracker,
// delivery sends it through a sink, the Tracker learns that it is durable, the Checkpointer writes the checkpoint row, and only then
// does the stream confirm its position to Postgres.
package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/ingest"
	"github.com/outbox-relay/outbox-relay/relay/internal/leadership"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/internal/watch"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const (
	// retryMin and retryMax bound the wait between two sessions that failed.
	retryMin, retryMax = 200 * time.Millisecond, 10 * time.Second
)

// Run relays until ctx ends; then it delivers what it has read, confirms it and returns nil. Whatever fails meanwhile is
// tried again for ever, but for what only a person can mend: then Run returns a [*operator.NeededError], or a
// [*delivery.HaltError] if it is to halt at an event that its destination will never take.
func Run(ctx context.Context, config Config) error {
	r := &relay{Config: config}
	defer r.Health.Enter(health.Stopping)

	var loop stuck
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		r.progressed = false
		err := loop.ended(r.session(ctx), r.progressed)
		switch {
		case ctx.Err() != nil || err == nil:
			return nil
		case isFinal(err):
			return err
		case errors.Is(err, recovery.ErrNext):
			failures = 0
			continue
		case time.Since(began) > retryMax: // it relayed or stood by; what ends at once, each time, is tried ever more rarely
			failures = 0
		}
		failures++
		r.parkBytes = r.parkBytes || errors.Is(err, ingest.ErrBytes)
		err = postgres.Explain(err)
		r.Metrics.SessionEnded(reasonOf(err))
		r.Health.Failed(err)
		r.Log.Warn("session ended, beginning again", "event", "session_ended", "slot", r.Slot, "attempt", failures, "err", err)
		task.Sleep(ctx, retryAfter(failures))
	}
	return nil
}

// relay is what all sessions share, and the control connections of the one that there is.
type relay struct {
	Config
	pool    *pgxpool.Pool
	learned *control.Learned // by the connections of pool
	store   *checkpoint.Store
	// progressed says that the session delivered events.
	progressed bool
	// parkBytes has rows parked whose columns held bytes: the log has such rows, and the table has no such column any more.
	parkBytes bool
	brought   *audit.Sequences // by the session before, if that ended with a recovery
}

// session takes the slot, waiting for it as a standby if need be, and relays from it until that fails or ctx ends.
func (r *relay) session(ctx context.Context) error {
	r.learned = &control.Learned{}
	pool, err := control.OpenPoolWith(ctx, r.Connect, r.learned)
	if err != nil {
		return fmt.Errorf("open the control connections: %w", err)
	}
	defer control.Close(pool)
	r.pool, r.store = pool, checkpoint.NewStore(pool, r.Slot)
	if err := r.begins(ctx); err != nil {
		return err
	}
	held, err := r.acquirer().Acquire(ctx)
	if err != nil {
		return err
	}
	defer held.Stream.Close()
	defer func() {
		r.Health.Warn("")
		for _, part := range []string{"audit", "partitions", "replay"} {
			r.Health.Retries(part, nil)
		}
	}()
	s, err := r.newSession(ctx, held)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

// acquirer returns the Acquirer of a session.
func (r *relay) acquirer() *leadership.Acquirer {
	return &leadership.Acquirer{
		Pool:  r.pool,
		Store: r.store,
		Open: leadership.Opener{
			Connect: r.Connect, Learned: r.learned, Slot: r.Slot, Publication: r.Publication, SenderTimeout: r.SenderTimeout,
		},
		Commits: r.commits(), Slot: r.Slot, Publication: r.Publication, Table: r.Table, Start: r.Start,
		HaltOnSlotLoss: r.HaltOnSlotLoss, SenderTimeout: r.SenderTimeout, Health: r.Health, Metrics: r.Metrics, Log: r.Log,
	}
}

func (r *relay) commits() *leadership.Commits {
	return &leadership.Commits{Pool: r.pool, Slot: r.Slot, Timeout: r.SenderTimeout, Health: r.Health, Log: r.Log}
}

// begins returns a [*operator.NeededError] where a session must not begin.
func (r *relay) begins(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	var err error
	if r.Table, err = members.Look(ctx, r.pool, r.Table); err != nil {
		return err
	}
	return outboxtable.RequireReadable(ctx, r.pool, r.Table)
}

func isFinal(err error) bool {
	var rejected *delivery.HaltError
	var missing *pgoutput.MissingColumnError
	return operator.IsNeeded(err) || errors.As(err, &rejected) || errors.As(err, &missing)
}

// reasonOf is the label under which the end of a session is counted.
func reasonOf(err error) string {
	var synchronous *replication.SynchronousError
	switch {
	case errors.Is(err, slot.ErrFenced):
		return "fenced"
	case errors.Is(err, slot.ErrLeaseOver):
		return "lease_over"
	case errors.Is(err, audit.ErrPublicationChanged):
		return "publication_changed"
	case errors.Is(err, watch.ErrColumnRenamed):
		return "column_renamed"
	case errors.Is(err, ingest.ErrBytes):
		return "binary_value"
	case errors.As(err, &synchronous):
		return "synchronous_standby"
	case errors.Is(err, checkpoint.ErrEventsMissing):
		return "events_missing"
	case errors.Is(err, replication.ErrSilent):
		return "silent_server"
	}
	return "error"
}

func retryAfter(failures int) time.Duration {
	wait := min(retryMax, retryMin<<min(failures-1, 10))
	return wait/2 + rand.N(wait/2)
}

// CheckStart returns the [*operator.NeededError] with which [Run] would end at its start, or nil.
func CheckStart(ctx context.Context, pool *pgxpool.Pool, config Config) error {
	var err error
	if config.Table, err = members.Look(ctx, pool, config.Table); err != nil {
		return err
	}
	r := &relay{Config: config, pool: pool, store: checkpoint.NewStore(pool, config.Slot)}
	return r.acquirer().CheckStart(ctx)
}

// triedTimeout is the least wal_sender_timeout of a connection that is only tried.
const triedTimeout = 10 * time.Second

// StreamOpener returns how a relay with this configuration opens a replication connection, to find
// out whether that is possible.
func StreamOpener(config Config) func(context.Context) (*replication.Stream, error) {
	return leadership.Opener{
		Connect: config.Connect, Learned: &control.Learned{}, Slot: config.Slot, Publication: config.Publication,
		SenderTimeout: max(config.SenderTimeout, triedTimeout),
	}.Stream
}
