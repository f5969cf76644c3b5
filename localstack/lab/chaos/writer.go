package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// writer commits transactions of every kind, one after the other.
type writer struct {
	run    *run
	number int
	random *rand.Rand
}

// write runs until ctx ends. A failed transaction is recorded and is not an error.
func (w *writer) write(ctx context.Context) {
	for ctx.Err() == nil {
		w.run.quiet.RLock()
		w.one(ctx)
		w.run.quiet.RUnlock()
		pause(ctx, duration(w.random, 2*w.run.plan.Load.Pause))
	}
}

func (w *writer) one(ctx context.Context) {
	switch n := w.random.IntN(100); {
	case n < 5:
		w.large(ctx)
	case n < 15:
		w.other(ctx)
	case n < 18 && w.number == 0 && w.run.plan.Load.DDL:
		w.alter(ctx)
	default:
		w.small(ctx)
	}
}

// small writes a few events of one aggregate.
func (w *writer) small(ctx context.Context) {
	w.transaction(ctx, 1+w.random.IntN(5), []aggregate{w.aggregate()})
}

// large writes many events of many aggregates.
func (w *writer) large(ctx context.Context) {
	all := w.run.aggregates()
	w.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	some := all[:1+w.random.IntN(len(all))]
	// a common order prevents deadlocks
	slices.SortFunc(some, func(a, b aggregate) int { return strings.Compare(a.key(), b.key()) })
	w.transaction(ctx, 20+w.random.IntN(100), some)
}

// aggregate returns a random aggregate. The first one of each destination is hot.
func (w *writer) aggregate() aggregate {
	all := w.run.aggregates()
	if w.random.IntN(3) == 0 {
		return all[w.random.IntN(len(w.run.destinations))*w.run.plan.Load.Aggregates]
	}
	return all[w.random.IntN(len(all))]
}

var errOnPurpose = errors.New("rolled back on purpose")

// transaction locks aggregates, writes n events of them, and records the outcome.
func (w *writer) transaction(ctx context.Context, n int, of []aggregate) {
	t := transaction{writer: w, outcome: checker.Committed}
	err := t.run(ctx, n, of)
	switch {
	case err == nil:
	case t.committing && !errors.Is(err, pgx.ErrTxCommitRollback):
		t.outcome = checker.Unknown
	default:
		t.outcome = checker.RolledBack
	}
	w.run.recorder.wrote(t.outcome, t.events)
	w.run.recorder.wrote(checker.RolledBack, t.undone)
}

// transaction is one transaction of a writer.
type transaction struct {
	*writer
	events     []checker.Event
	undone     []checker.Event // rolled back to a savepoint
	committing bool
	outcome    checker.Outcome
}

func (t *transaction) run(ctx context.Context, n int, of []aggregate) error {
	conn, err := t.writer.run.writers.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	ctx = context.WithoutCancel(ctx) // so that every begun transaction ends with a known outcome
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after Commit it has nothing to do
	if t.random.IntN(6) == 0 {
		t.outcome = checker.Unknown // a crash may lose the commit
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = off`); err != nil {
			return err
		}
	}
	if err := lockAggregates(ctx, tx, of); err != nil {
		return err
	}
	if err := t.insert(ctx, tx, n, of); err != nil {
		return err
	}
	if t.random.IntN(12) == 0 { // a long transaction holds back all snapshots
		pause(ctx, duration(t.random, t.writer.run.plan.Load.Long))
	}
	if t.random.IntN(10) == 0 {
		return errOnPurpose
	}
	return t.commit(ctx, tx)
}

// commit commits in one step or in two.
func (t *transaction) commit(ctx context.Context, tx pgx.Tx) error {
	if t.random.IntN(25) > 0 {
		t.committing = true
		return tx.Commit(ctx)
	}
	id := uuid.NewString()
	// A transaction that a crash leaves prepared is committed at the end of the run.
	t.committing = true
	if _, err := tx.Exec(ctx, `PREPARE TRANSACTION '`+id+`'`); err != nil {
		return err
	}
	pause(ctx, time.Duration(t.random.IntN(300))*time.Millisecond)
	_, err := tx.Exec(ctx, `COMMIT PREPARED '`+id+`'`)
	return err
}

// lockAggregates serialises the writers of each aggregate, so that seq is the order of their
// commits.
func lockAggregates(ctx context.Context, tx pgx.Tx, of []aggregate) error {
	keys := make([]string, len(of))
	for i, a := range of {
		keys[i] = a.key()
	}
	_, err := tx.Exec(ctx, `SELECT FROM aggregates WHERE key = ANY ($1) ORDER BY key FOR UPDATE`, keys)
	return err
}

func (t *transaction) insert(ctx context.Context, tx pgx.Tx, n int, of []aggregate) error {
	for range n {
		e := t.writer.run.newEvent(t.random, of[t.random.IntN(len(of))])
		switch t.random.IntN(10) {
		case 0: // a subtransaction that is rolled back
			t.undone = append(t.undone, e)
			if err := t.insertInSavepoint(ctx, tx, e, errOnPurpose); !errors.Is(err, errOnPurpose) {
				return err
			}
		case 1:
			t.events = append(t.events, e)
			if err := t.insertInSavepoint(ctx, tx, e, nil); err != nil {
				return err
			}
		default:
			t.events = append(t.events, e)
			if err := t.writer.run.shape.write(ctx, tx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *transaction) insertInSavepoint(ctx context.Context, tx pgx.Tx, e checker.Event, end error) error {
	return pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
		if err := t.writer.run.shape.write(ctx, savepoint, e); err != nil {
			return err
		}
		return end
	})
}

// other writes to a table that the relay does not publish, so only the position in the log
// advances.
func (w *writer) other(ctx context.Context) {
	_, _ = w.run.writers.Exec(ctx, `INSERT INTO other SELECT i, repeat('x', 100)
		FROM generate_series(1, $1) AS i`, 1+w.random.IntN(500))
}

// alter changes columns of the table while relays read it. It gives up if another transaction holds
// the table for long.
func (w *writer) alter(ctx context.Context) {
	column := fmt.Sprintf("extra_%d", w.random.IntN(3))
	statement := "ADD COLUMN IF NOT EXISTS " + column + " text DEFAULT 'some'"
	if w.random.IntN(2) == 0 {
		statement = "DROP COLUMN IF EXISTS " + column
	}
	_ = pgx.BeginFunc(ctx, w.run.writers, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '300ms'`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, w.run.shape.sql(`ALTER TABLE {table} `+statement))
		return err
	})
}
