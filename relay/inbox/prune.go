package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// pruneStep bounds the ids that one statement removes, and so its locks and its log.
const pruneStep = 1000

// deleteOld removes the oldest ids, and passes over those that another call is removing.
var deleteOld = fmt.Sprintf(`
	DELETE FROM inbox_events WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM inbox_events
		WHERE recorded_at < now() - pg_catalog.make_interval(secs => $1::float8)
		ORDER BY recorded_at LIMIT %d
		FOR UPDATE SKIP LOCKED))`, pruneStep)

// Pool executes statements, each in a transaction of its own: a *pgxpool.Pool or a *pgx.Conn.
type Pool interface {
	Exec(ctx context.Context, statement string, arguments ...any) (pgconn.CommandTag, error)
}

// Prune removes the ids that were recorded longer than age ago, of all consumers, and returns their
// number. It removes at most a thousand in a transaction, so it may run beside the consumers, and
// several calls may run at once. If it fails or ctx ends, call it again: the removed ids stay
// removed.
//
// An event whose id is removed is new if it arrives again. So age has to exceed the time in which
// an event can arrive again: the retention of the queue and of its dead-letter queue, both again
// after each redrive between the two, and the age of events that operators redrive or replay with
// the relay. SQS keeps a message for up to 14 days in each queue, so 60 days cover one redrive of
// SQS.
//
// Prune keeps the rows of [SkipStale], one for each aggregate: they hold off older events after
// their ids are removed. Delete them together with the aggregate.
func Prune(ctx context.Context, pool Pool, age time.Duration) (removed int64, err error) {
	if _, isTransaction := pool.(interface {
		Commit(ctx context.Context) error
	}); isTransaction {
		return 0, fmt.Errorf("prune the inbox: %T is a transaction, which would keep all locks to its end: pass a "+
			"pool or a connection", pool)
	}
	return prune(age, func(seconds float64) (int64, error) {
		tag, err := pool.Exec(ctx, deleteOld, seconds)
		return tag.RowsAffected(), err
	})
}

// PruneSQL is [Prune] for database/sql. db is a *sql.DB or a *sql.Conn.
func PruneSQL(ctx context.Context, db Execer, age time.Duration) (removed int64, err error) {
	if _, isTransaction := db.(transaction); isTransaction {
		return 0, fmt.Errorf("prune the inbox: %T is a transaction, which would keep all locks to its end: pass a "+
			"pool or a connection", db)
	}
	return prune(age, func(seconds float64) (int64, error) {
		result, err := db.ExecContext(ctx, deleteOld, seconds)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	})
}

// prune repeats a step until it finds less than it may remove.
func prune(age time.Duration, step func(seconds float64) (int64, error)) (removed int64, err error) {
	if age <= 0 {
		return 0, errors.New("prune the inbox: the age is not positive, so every id would be removed: pass more than " +
			"the time in which an event can arrive again")
	}
	for {
		n, err := step(age.Seconds())
		if removed += n; err != nil {
			return removed, fmt.Errorf("prune the inbox after %d ids: %w", removed, explain(err))
		}
		if n < pruneStep {
			return removed, nil
		}
	}
}
