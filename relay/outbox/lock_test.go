package outbox_test

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// TestAWaitingMigrationHoldsUpNoRelay: a dump reads the table for long, and a statement that waits
// for an exclusive lock has every later one wait behind it. A relay that cannot write its
// checkpoint stops publishing.
func TestAWaitingMigrationHoldsUpNoRelay(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	migrating, dumping, relaying := connectTo(t, database), connectTo(t, database), connectTo(t, database)
	if _, _, err := migrations.Migrate(t.Context(), migrating); err != nil {
		t.Fatal(err)
	}
	dump, err := dumping.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dump.Exec(t.Context(), `SELECT FROM relay_checkpoints`); err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"001_column.sql": {Data: []byte(`ALTER TABLE relay_checkpoints ADD COLUMN further text`)}}
	migrated := make(chan error, 1)
	go func() {
		_, _, err := migrations.Apply(t.Context(), migrating, files, "further_version")
		migrated <- err
	}()
	awaitWaiting(t, relaying)
	for begin := time.Now(); time.Since(begin) < 3*time.Second; {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := relaying.Exec(ctx, `UPDATE relay_checkpoints SET updated_at = now()`)
		cancel()
		if err != nil {
			t.Fatalf("a relay cannot write its checkpoint: %v", err)
		}
	}
	if err := dump.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Errorf("the migration did not wait: %v", err)
	}
}

func connectTo(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// awaitWaiting returns once a session of the database waits for a lock.
func awaitWaiting(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for waits := false; !waits; {
		err := conn.QueryRow(t.Context(), `
			SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
			WHERE d.datname = current_database() AND NOT l.granted)`).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
}
