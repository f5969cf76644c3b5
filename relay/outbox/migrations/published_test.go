package migrations_test

import (
	"context"
	"os"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// publishAll is a publication that also publishes updates and deletes of every table, as Debezium's
// connector creates by default.
const publishAll = `CREATE PUBLICATION everything FOR ALL TABLES`

// TestMigrateUnderAPublicationOfAllTables: under such a publication Postgres refuses to update or
// delete a row of a table without a replica identity.
func TestMigrateUnderAPublicationOfAllTables(t *testing.T) {
	t.Parallel()
	conn, admin := connectAsBoth(t)
	execute(t, admin, publishAll)
	if _, _, err := migrations.Migrate(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	requireIdentities(t, conn)
}

// TestUpgradeUnderAPublicationOfAllTables: an older relay created the version table without a
// replica identity.
func TestUpgradeUnderAPublicationOfAllTables(t *testing.T) {
	t.Parallel()
	conn, admin := connectAsBoth(t)
	first, err := os.ReadFile("001_outbox.sql")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"001_outbox.sql": &fstest.MapFile{Data: first}}
	if _, _, err := migrations.Apply(t.Context(), conn, files, migrations.VersionTable); err != nil {
		t.Fatal(err)
	}
	execute(t, conn, `ALTER TABLE outbox_schema_version REPLICA IDENTITY DEFAULT`)
	execute(t, admin, publishAll)
	if from, _, err := migrations.Migrate(t.Context(), conn); err != nil || from != 1 {
		t.Fatalf("from %d: %v", from, err)
	}
	requireIdentities(t, conn)
}

// requireIdentities fails for each table of which a publication of all tables refuses updates.
func requireIdentities(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	rows, err := conn.Query(t.Context(), `
		SELECT c.relname, c.relreplident IN ('f', 'i') OR c.relreplident = 'd' AND EXISTS (
			SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
		FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'`)
	if err != nil {
		t.Fatal(err)
	}
	var table string
	var identified bool
	tag, err := pgx.ForEachRow(rows, []any{&table, &identified}, func() error {
		if !identified {
			t.Errorf("table %s has no replica identity", table)
		}
		return nil
	})
	if err != nil || tag.RowsAffected() < 8 {
		t.Fatalf("%d tables: %v", tag.RowsAffected(), err)
	}
}

// connectAsBoth connects to a new database as its owner and as a superuser.
func connectAsBoth(t *testing.T) (owner, superuser *pgx.Conn) {
	t.Helper()
	database := pgtest.NewDatabase(t)
	return connect(t, database), connect(t, pgtest.SuperuserURL(t, database))
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
