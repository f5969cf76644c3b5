package inbox_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// modes are the ways in which drivers send parameters: by the type that the server states, by that
// of the Go value, or inside of the statement.
var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

func recordSQL(ctx context.Context, db *sql.DB, event inbox.Event, options ...inbox.Option) (isNew bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	if isNew, err = inbox.OnceSQL(ctx, tx, "shipping", event, options...); err != nil {
		return false, err
	}
	return isNew, tx.Commit()
}

func TestOnceSQLAnswersAsOnce(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			pool, url := newInbox(t)
			db := openSQL(t, url, mode)
			for i, step := range []struct {
				event   inbox.Event
				want    bool
				options []inbox.Option
			}{
				{ofOrder(`a'b\"c`, 1), true, nil},
				{ofOrder(`a'b\"c`, 1), false, nil},
				{ofOrder("newer", 9), true, []inbox.Option{inbox.SkipStale()}},
				{ofOrder("older", -9), false, []inbox.Option{inbox.SkipStale()}},
			} {
				isNew, err := recordSQL(t.Context(), db, step.event, step.options...)
				if err != nil || isNew != step.want {
					t.Errorf("event %d: new %t, %v", i, isNew, err)
				}
			}
			expect(t, pool, []inbox.Event{ofOrder(`a'b\"c`, 1), ofOrder("x", 8)}, []bool{false, false},
				inbox.SkipStale())
			if _, err := pool.Exec(t.Context(), `UPDATE inbox_events SET recorded_at = now() - interval '1 hour'
				WHERE event_id = 'newer'`); err != nil {
				t.Fatal(err)
			}
			if removed, err := inbox.PruneSQL(t.Context(), db, 30*time.Minute); err != nil || removed != 1 {
				t.Errorf("removed %d, %v", removed, err)
			}
		})
	}
}

func TestOnceSQLRefusesAPool(t *testing.T) {
	t.Parallel()
	pool, url := newInbox(t)
	db := openSQL(t, url, pgx.QueryExecModeCacheStatement)
	isNew, err := inbox.OnceSQL(t.Context(), db, "shipping", ofOrder("a", 1))
	if isNew || err == nil || !strings.Contains(err.Error(), "*sql.DB is no transaction") {
		t.Errorf("new %t, %v", isNew, err)
	}
	if n := count(t, pool, "inbox_events"); n != 0 {
		t.Errorf("%d events are recorded", n)
	}
}

// TestGORMRecordsInItsTransactionOnly: with prepared statements, gorm wraps pool and transaction in
// types of its own.
func TestGORMRecordsInItsTransactionOnly(t *testing.T) {
	t.Parallel()
	for name, prepared := range map[string]bool{"plain": false, "prepared": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := newInbox(t)
			db, err := gorm.Open(postgres.New(postgres.Config{Conn: openSQL(t, url, pgx.QueryExecModeCacheStatement)}),
				&gorm.Config{Logger: logger.Discard, PrepareStmt: prepared})
			if err != nil {
				t.Fatal(err)
			}
			_, err = inbox.OnceSQL(t.Context(), db.Statement.ConnPool, "shipping", ofOrder("a", 1))
			if err == nil || !strings.Contains(err.Error(), "is no transaction") {
				t.Errorf("outside of a transaction: %v", err)
			}
			for _, want := range []bool{true, false} {
				err := db.Transaction(func(tx *gorm.DB) error {
					isNew, err := inbox.OnceSQL(t.Context(), tx.Statement.ConnPool, "shipping", ofOrder("a", 1))
					if isNew != want {
						t.Errorf("new %t, want %t", isNew, want)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
