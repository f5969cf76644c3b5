package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// cut closes the socket of a connection without a word to the server, like a consumer that is
// killed.
func cut(conn *pgx.Conn) error { return conn.PgConn().Conn().Close() }

func TestSecondConsumerSeesHowTheFirstEnded(t *testing.T) {
	t.Parallel()
	ends := map[string]struct {
		end       func(context.Context, *pgx.Conn, pgx.Tx) error
		remembers bool
	}{
		"commit":   {func(ctx context.Context, _ *pgx.Conn, tx pgx.Tx) error { return tx.Commit(ctx) }, true},
		"rollback": {func(ctx context.Context, _ *pgx.Conn, tx pgx.Tx) error { return tx.Rollback(ctx) }, false},
		"killed":   {func(_ context.Context, conn *pgx.Conn, _ pgx.Tx) error { return cut(conn) }, false},
	}
	for name, c := range ends {
		for _, options := range [][]inbox.Option{nil, {inbox.SkipStale()}} {
			t.Run(fmt.Sprintf("%s, %d options", name, len(options)), func(t *testing.T) {
				t.Parallel()
				pool, url := newInbox(t)
				first := connect(t, url)
				tx, err := first.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				isNew, err := inbox.Once(t.Context(), tx, "shipping", ofOrder("a", 1), options...)
				if err != nil || !isNew {
					t.Fatalf("the first: new %t, %v", isNew, err)
				}
				second := make(chan answer, 1)
				go func() {
					isNew, err := record(t.Context(), pool, ofOrder("a", 1), options...)
					second <- answer{isNew, err}
				}()
				awaitLockWait(t, pool, 1)
				if err := c.end(t.Context(), first, tx); err != nil {
					t.Fatal(err)
				}
				if got := <-second; got.err != nil || got.isNew == c.remembers {
					t.Errorf("the second: %v", got)
				}
			})
		}
	}
}

// TestOlderEventWaitsForTheNewer: two events of one aggregate are processed at once.
func TestOlderEventWaitsForTheNewer(t *testing.T) {
	t.Parallel()
	for _, committed := range []bool{true, false} {
		t.Run(fmt.Sprintf("committed %t", committed), func(t *testing.T) {
			t.Parallel()
			pool, url := newInbox(t)
			expect(t, pool, []inbox.Event{ofOrder("first", 1)}, []bool{true}, inbox.SkipStale())
			tx, err := connect(t, url).Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := inbox.Once(t.Context(), tx, "shipping", ofOrder("newer", 3), inbox.SkipStale()); err != nil {
				t.Fatal(err)
			}
			older := make(chan answer, 1)
			go func() {
				isNew, err := record(t.Context(), pool, ofOrder("older", 2), inbox.SkipStale())
				older <- answer{isNew, err}
			}()
			awaitLockWait(t, pool, 1)
			end := tx.Rollback
			if committed {
				end = tx.Commit
			}
			if err := end(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := <-older; got.err != nil || got.isNew == committed {
				t.Errorf("the older: %v", got)
			}
		})
	}
}

func TestStrictIsolationReportsTheConflict(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		pool, url := newInbox(t)
		tx, err := connect(t, url).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `SELECT count(*) FROM inbox_events`); err != nil { // takes the snapshot
			t.Fatal(err)
		}
		expect(t, pool, []inbox.Event{ofOrder("a", 1)}, []bool{true})
		isNew, err := inbox.Once(t.Context(), tx, "shipping", ofOrder("a", 1))
		refused := (*pgconn.PgError)(nil)
		if isNew || !errors.As(err, &refused) || refused.Code != pgerrcode.SerializationFailure {
			t.Errorf("%s: new %t, %v", level, isNew, err)
		}
	}
}
