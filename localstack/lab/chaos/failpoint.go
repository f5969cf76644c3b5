package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// failpoint holds a lock on one of the relay's tables, so that statements which write to it wait.
// The lock needs no transaction id, so slots can be created meanwhile.
// https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES
type failpoint struct {
	*act
	table string
	conn  *pgx.Conn
}

// waiting is a backend of a relay that waits for the lock.
type waiting struct {
	pid  int32
	role string
}

// holdFor is how long a relay waits before the failpoint lets it pass. It is shorter than the
// relay's own timeouts.
const holdFor = 250 * time.Millisecond

func newFailpoint(ctx context.Context, a *act, table string) (*failpoint, error) {
	conn, err := pgx.Connect(ctx, a.cluster.url(a.database, "postgres"))
	if err != nil {
		return nil, fmt.Errorf("connect for a failpoint: %w", err)
	}
	return &failpoint{act: a, table: table, conn: conn}, nil
}

// catch lets statements pass one by one until the waiting statement contains text. It returns nil
// if no such statement comes in time after prepared is closed.
func (f *failpoint) catch(ctx context.Context, text string, prepared <-chan struct{}) (*waiting, error) {
	for began := time.Now(); ctx.Err() == nil && time.Since(began) < crashTimeout; {
		select {
		case <-prepared:
		default:
			began = time.Now()
		}
		if err := f.arm(ctx); err != nil {
			return nil, err
		}
		var caught *waiting
		await(ctx, holdFor, func() bool {
			w, query, err := f.longestWaiting(ctx)
			if err == nil && w != nil && matches(query, text) {
				caught = w
			}
			return w != nil
		})
		if caught != nil {
			return caught, nil
		}
	}
	return nil, nil
}

// arm lets the waiting statements pass and then queues behind them, so that their next statement
// waits for the lock.
func (f *failpoint) arm(ctx context.Context) error {
	_, err := f.conn.Exec(ctx, `ROLLBACK; BEGIN; LOCK TABLE `+f.table+` IN EXCLUSIVE MODE`)
	return err
}

// longestWaiting returns the relay's backend that has waited longest for a lock.
func (f *failpoint) longestWaiting(ctx context.Context) (*waiting, string, error) {
	var w waiting
	var query string
	err := f.admin.QueryRow(ctx, `
		SELECT pid, usename, query FROM pg_stat_activity
		WHERE datname = current_database() AND usename LIKE 'relay%' AND wait_event_type = 'Lock'
		AND query LIKE '%' || $1 || '%'
		ORDER BY query_start LIMIT 1`, f.table).Scan(&w.pid, &w.role, &query)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, "", nil
	}
	return &w, query, err
}

// release lets all statements pass.
func (f *failpoint) release(ctx context.Context) {
	_, _ = f.conn.Exec(context.WithoutCancel(ctx), `ROLLBACK`)
}

func (f *failpoint) close(ctx context.Context) { _ = f.conn.Close(context.WithoutCancel(ctx)) }
