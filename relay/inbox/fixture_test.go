package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
	"github.com/outbox-relay/outbox-relay/relay/inbox/migrations"
)

// patience bounds every wait for an event that has to happen.
const patience = 60 * time.Second

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// newInbox returns a pool of a database with the tables of the inbox, and its URL.
func newInbox(t *testing.T) (pool *pgxpool.Pool, url string) {
	t.Helper()
	url = pgtest.NewDatabase(t)
	if _, _, err := migrations.Migrate(t.Context(), connect(t, url)); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, url
}

// openSQL returns a pool of database/sql that sends parameters in this mode.
func openSQL(t *testing.T, url string, mode pgx.QueryExecMode) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = mode
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// beginner is a pool or a connection.
type beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// record calls Once in a transaction of its own and commits it.
func record(ctx context.Context, db beginner, event inbox.Event, options ...inbox.Option) (isNew bool, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) (err error) {
		isNew, err = inbox.Once(ctx, tx, "shipping", event, options...)
		return err
	})
	return isNew, err
}

// expect records each event and compares the answers.
func expect(t *testing.T, pool *pgxpool.Pool, events []inbox.Event, want []bool, options ...inbox.Option) {
	t.Helper()
	for i, event := range events {
		isNew, err := record(t.Context(), pool, event, options...)
		if err != nil || isNew != want[i] {
			t.Errorf("event %d, %s: new %t, %v, want %t", i, event.ID, isNew, err, want[i])
		}
	}
}

// ofOrder returns an event of order 4711.
func ofOrder(id string, sequence int64) inbox.Event {
	return inbox.Event{
		ID: id, Type: "order.changed", AggregateType: "order", AggregateID: "4711", Sequence: &sequence,
	}
}

// count returns the number of rows of a table.
func count(t *testing.T, pool *pgxpool.Pool, table string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitLockWait waits until this many sessions of the database wait for a transaction.
func awaitLockWait(t *testing.T, pool *pgxpool.Pool, sessions int) {
	t.Helper()
	waiting := 0
	for deadline := time.Now().Add(patience); waiting != sessions; time.Sleep(10 * time.Millisecond) {
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
			AND wait_event_type = 'Lock'`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions wait, want %d", waiting, sessions)
		}
	}
}

// answer is the result of Once.
type answer struct {
	isNew bool
	err   error
}

func (a answer) String() string { return fmt.Sprintf("new %t, %v", a.isNew, a.err) }
