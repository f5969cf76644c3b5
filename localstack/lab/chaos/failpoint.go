package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// trap holds a lock on a table of the relay's, so that whoever writes to it waits. The lock takes no transaction id: slots
// can be made meanwhile.
// https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES
type trap struct {
	*act
	table string
	conn  *pgx.Conn
}

// waiting is a relay's backend that waits for the lock.
type waiting struct {
	pid  int32
	role string
}

// holdFor is how long a relay may wait before it is let go: less than it would wait by itself.
const holdFor = 250 * time.Millisecond

func newTrap(ctx context.Context, a *act, table string) (*trap, error) {
	conn, err := pgx.Connect(ctx, a.cluster.url(a.database, "postgres"))
	if err != nil {
		return nil, fmt.Errorf("set a trap: %w", err)
	}
	return &trap{act: a, table: table, conn: conn}, nil
}

// catch lets statements pass one by one until a relay waits with one that holds text. It returns nil if none comes in time
// after prepared is closed.
func (t *trap) catch(ctx context.Context, text string, prepared <-chan struct{}) (*waiting, error) {
	for began := time.Now(); ctx.Err() == nil && time.Since(began) < crashTimeout; {
		select {
		case <-prepared:
		default:
			began = time.Now()
		}
		if err := t.set(ctx); err != nil {
			return nil, err
		}
		var caught *waiting
		await(ctx, holdFor, func() bool {
			w, query, err := t.look(ctx)
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

// set lets those pass that wait, and then waits behind them: their next statement finds the lock taken.
func (t *trap) set(ctx context.Context) error {
	_, err := t.conn.Exec(ctx, `ROLLBACK; BEGIN; LOCK TABLE `+t.table+` IN EXCLUSIVE MODE`)
	return err
}

// look returns the relay's backend that has waited longest for a lock.
func (t *trap) look(ctx context.Context) (*waiting, string, error) {
	var w waiting
	var query string
	err := t.admin.QueryRow(ctx, `
		SELECT pid, usename, query FROM pg_stat_activity
		WHERE datname = current_database() AND usename LIKE 'relay%' AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'
		ORDER BY query_start LIMIT 1`, t.table).Scan(&w.pid, &w.role, &query)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, "", nil
	}
	return &w, query, err
}

// release lets everybody pass.
func (t *trap) release(ctx context.Context) {
	_, _ = t.conn.Exec(context.WithoutCancel(ctx), `ROLLBACK`)
}

func (t *trap) close(ctx context.Context) { _ = t.conn.Close(context.WithoutCancel(ctx)) }
