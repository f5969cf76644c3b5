package inbox_test

import (
	"context"
	"crypto/rand"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/tern/v2/migrate"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
	"github.com/outbox-relay/outbox-relay/relay/inbox/migrations"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	outbox "github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

func TestEveryTableAndColumnHasAComment(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	if tables := outboxtest.RequireComments(t, pool); tables != 3 {
		t.Fatalf("%d tables", tables)
	}
}

func TestMigrationsGoThereAndBack(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.NewDatabase(t))
	if _, _, err := outbox.Migrate(t.Context(), conn); err != nil { // a service may have both
		t.Fatal(err)
	}
	for _, want := range [][2]int32{{0, 1}, {1, 1}} {
		if from, to, err := migrations.Migrate(t.Context(), conn); err != nil || from != want[0] || to != want[1] {
			t.Errorf("migrated from %d to %d, %v, want %v", from, to, err, want)
		}
	}
	migrator, err := migrate.NewMigrator(t.Context(), conn, migrations.VersionTable)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrator.LoadMigrations(os.DirFS("migrations")); err != nil {
		t.Fatal(err)
	}
	if err := migrator.MigrateTo(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if from, to, err := migrations.Migrate(t.Context(), conn); err != nil || from != 0 || to != 1 {
		t.Errorf("migrated from %d to %d, %v", from, to, err)
	}
}

// TestMigrationRunsWithoutThePackage: a service of another language runs the part that creates.
func TestMigrationRunsWithoutThePackage(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.NewDatabase(t))
	file, err := os.ReadFile("migrations/001_inbox.sql")
	if err != nil {
		t.Fatal(err)
	}
	creates, _, _ := strings.Cut(string(file), "---- create above")
	if _, err := conn.Exec(t.Context(), creates); err != nil {
		t.Fatal(err)
	}
	if isNew, err := record(t.Context(), conn, ofOrder("a", 1), inbox.SkipStale()); err != nil || !isNew {
		t.Errorf("new %t, %v", isNew, err)
	}
}

// TestDocumentedPrivilegesSuffice: the page for consumers has the statements.
func TestDocumentedPrivilegesSuffice(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/consumers.md")
	if err != nil {
		t.Fatal(err)
	}
	grants := regexp.MustCompile(`(?m)^GRANT .* TO shipping;`).FindAllString(string(page), -1)
	if len(grants) != 2 {
		t.Fatalf("the page has the grants %q, want two", grants)
	}
	pool := poolOfConsumer(t, grants)
	expect(t, pool, []inbox.Event{ofOrder("b", 2), ofOrder("a", 1)}, []bool{true, false}, inbox.SkipStale())
	if removed, err := inbox.Prune(t.Context(), pool, time.Nanosecond); err != nil || removed != 2 {
		t.Errorf("removed %d, %v", removed, err)
	}
}

// poolOfConsumer returns a pool of a new role that was granted these privileges.
func poolOfConsumer(t *testing.T, grants []string) *pgxpool.Pool {
	t.Helper()
	owner, url := newInbox(t)
	role := "shipping_" + strings.ToLower(rand.Text()[:12]) // roles are unique in a cluster, not in a database
	admin := connect(t, pgtest.SuperuserURL(t, url))
	if _, err := admin.Exec(t.Context(), `CREATE ROLE `+role); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role); err != nil {
			t.Error(err)
		}
	})
	for _, grant := range grants {
		if _, err := owner.Exec(t.Context(), strings.Replace(grant, "TO shipping", "TO "+role, 1)); err != nil {
			t.Fatal(err)
		}
	}
	config, err := pgxpool.ParseConfig(pgtest.SuperuserURL(t, url))
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["role"] = role
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
