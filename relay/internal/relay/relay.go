// Package relay streams the committed events of an outbox table to their destinations without
// losing one.
//
// replication.Stream reads an event from the slot. ingest.Handler decodes it, registers it with the
// Tracker and hands it to the Gate. Delivery sends it through a sink, or its row waits in the
// outbox table. Either way the Tracker counts it as delivered. The Checkpointer writes the
// checkpoint row. Only then the stream confirms the position to Postgres.
package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/ingest"
	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
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
	// retryMin and retryMax bound the pause after a session that failed.
	retryMin, retryMax = 200 * time.Millisecond, 10 * time.Second
)

// Run relays until ctx ends. It then delivers and confirms the events that it has read, and returns
// nil.
//
// Run retries every failure without end, except one that only an operator can fix. For that it
// returns a [*operator.NeededError]. It returns a [*delivery.HaltError] if it must halt at an event
// that its destination refuses, and a [*pgoutput.MissingColumnError] if the log has rows without a
// column that the relay reads.
func Run(ctx context.Context, config Config) error {
	r := &relay{Config: config}
	defer r.Health.Enter(health.Stopping)

	var loop stuck
	var decoding blocked
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		r.progressed = false
		// Two statements, because r.progressed must be read after the session.
		err := r.session(ctx)
		err = loop.ended(err, r.progressed)
		r.undecodable = decoding.ended(err, r.from)
		switch {
		case ctx.Err() != nil || err == nil:
			return nil
		case isFinal(err):
			return err
		case errors.Is(err, recovery.ErrNext):
			failures = 0
			continue
		case errors.Is(err, watch.ErrTablesChanged), errors.Is(err, members.ErrNext):
			r.Metrics.SessionEnded(reasonOf(err))
			failures = 0
			continue
		case time.Since(began) > retryMax:
			// The session relayed or stood by. A session that fails at once, again and again, is
			// retried ever more rarely.
			failures = 0
		}
		failures++
		r.parkBytes = r.parkBytes || errors.Is(err, ingest.ErrBytes)
		err = postgres.Explain(err)
		r.Metrics.SessionEnded(reasonOf(err))
		r.Health.Failed(err)
		r.Log.Warn("session ended, beginning another", "event", "session_ended",
			"slot", r.Slot, "attempt", failures, "err", err)
		task.Sleep(ctx, retryAfter(failures))
	}
	return nil
}

// relay holds the state that all sessions share, and the control connections of the current
// session.
type relay struct {
	Config
	pool    *pgxpool.Pool
	learned *control.Learned    // by the connections of pool
	turns   *largemessage.Turns // of all connections of the session
	store   *checkpoint.Store
	// progressed reports that the session delivered events.
	progressed bool
	// parkBytes parks rows with bytes. It is set when the log has such rows and the table no longer
	// has such a column.
	parkBytes   bool
	from        pglogrepl.LSN    // where the session began
	undecodable error            // see [leadership.Acquirer]
	hasTables   bool             // a session has found several tables
	brought     *audit.Sequences // by the session before, if that ended with a recovery or for new tables
}

// session acquires the slot, and relays from it until a part fails or ctx ends. While another relay
// holds the slot, it waits as a standby.
func (r *relay) session(ctx context.Context) error {
	r.learned, r.turns = &control.Learned{}, largemessage.New()
	pool, err := control.OpenPoolWith(ctx, r.Connect, r.learned, r.turns)
	if err != nil {
		return fmt.Errorf("open the control connections: %w", err)
	}
	defer control.Close(pool)
	r.pool, r.store = pool, checkpoint.NewStore(pool, r.Slot)
	if err := r.prepare(ctx); err != nil {
		return err
	}
	held, err := r.acquirer().Acquire(ctx)
	if err != nil {
		return err
	}
	r.from = held.Row.Position.FlushLSN
	defer held.Stream.Close()
	defer r.endWarnings()
	s, err := r.newSession(ctx, held)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

// endWarnings withdraws the warnings of a session that has ended.
func (r *relay) endWarnings() {
	r.Health.Warn("")
	r.Health.RetriesEnd()
}

func (r *relay) acquirer() *leadership.Acquirer {
	return &leadership.Acquirer{
		Pool:  r.pool,
		Store: r.store,
		Open: leadership.Opener{
			Connect: r.Connect, Learned: r.learned, Slot: r.Slot, Publication: r.Publication,
			Messages: r.Emitted != "", SenderTimeout: r.SenderTimeout, Turns: r.turns,
		},
		Commits: r.commits(), Slot: r.Slot, Publication: r.Publication, Table: r.Table, Emitted: r.Emitted,
		Start: r.Start, Undecodable: r.undecodable,
		HaltOnSlotLoss: r.HaltOnSlotLoss, SenderTimeout: r.SenderTimeout,
		Health: r.Health, Metrics: r.Metrics, Log: r.Log,
	}
}

func (r *relay) commits() *leadership.Commits {
	return &leadership.Commits{Pool: r.pool, Slot: r.Slot, Timeout: r.SenderTimeout, Health: r.Health, Log: r.Log}
}

// prepare returns a [*operator.NeededError] if a session must not begin. It determines the columns
// of the table.
func (r *relay) prepare(ctx context.Context) error {
	soon, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	table, err := members.Look(soon, r.pool, r.Table)
	if err != nil {
		return err
	}
	if err := r.checkNew(ctx, table); err != nil { // each of its checks has a limit of its own
		return err
	}
	r.Table = table
	r.Router = r.Router.WithFilter(r.Table.Filter)
	soon, cancel = context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	return outboxtable.RequireReadable(soon, r.pool, r.Table)
}

func isFinal(err error) bool {
	var rejected *delivery.HaltError
	var missing *pgoutput.MissingColumnError
	return operator.IsNeeded(err) || errors.As(err, &rejected) || errors.As(err, &missing)
}

// reasonOf returns the metric label for the end of a session.
func reasonOf(err error) string {
	var synchronous *replication.SynchronousError
	switch {
	case errors.Is(err, slot.ErrFenced):
		return "fenced"
	case errors.Is(err, slot.ErrLeaseExpired):
		return "lease_over"
	case errors.Is(err, audit.ErrPublicationChanged):
		return "publication_changed"
	case errors.Is(err, watch.ErrColumnRenamed):
		return "column_renamed"
	case errors.Is(err, watch.ErrTablesChanged), errors.Is(err, members.ErrNext):
		return "tables_changed"
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

// testTimeout is the least wal_sender_timeout of a connection that only tests whether it can be
// opened.
const testTimeout = 10 * time.Second

// StreamOpener returns a function that opens a replication connection with this configuration, to
// test whether that is possible.
func StreamOpener(config Config) func(context.Context) (*replication.Stream, error) {
	return leadership.Opener{
		Connect: config.Connect, Learned: &control.Learned{}, Slot: config.Slot, Publication: config.Publication,
		SenderTimeout: max(config.SenderTimeout, testTimeout),
	}.Stream
}
