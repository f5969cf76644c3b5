package preflight_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestGrantsNameTheRole: after the statements of the findings, the role may relay.
func TestGrantsNameTheRole(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`CREATE SCHEMA "Shop"; ALTER TABLE ev SET SCHEMA "Shop"`)
	e.Table.Schema = "Shop"
	e.Removes = true
	role := "Relay of " + strings.TrimPrefix(e.conn.Config().Database, "test_")
	admin := connect(t, pgtest.SuperuserURL(t, e.url))
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	quoted := pgx.Identifier{role}.Sanitize()
	exec(`CREATE ROLE ` + quoted + ` LOGIN PASSWORD 'x'`)
	defer exec(`DROP OWNED BY ` + quoted + `; DROP ROLE ` + quoted)
	address, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(role, "x")
	for _, f := range e.checkAs(address.String()) {
		granted := `GRANT USAGE ON SCHEMA "Shop" TO ` + quoted + `; GRANT SELECT ON "Shop"."ev" TO ` + quoted + `;`
		if f.Code == preflight.CodeTable && f.Statement != granted {
			t.Errorf("the table is granted by %s", f.Statement)
		}
		if f.Code == preflight.CodeDeferral {
			t.Errorf("a table that cannot be read: %s", f)
		}
	}
	for range 3 { // a table that may not be read hides its columns
		problems := e.checkAs(address.String()).Of(preflight.Error)
		if len(problems) == 0 {
			return
		}
		for _, f := range problems {
			exec(f.Statement)
		}
	}
	t.Errorf("the statements do not suffice: %s", e.checkAs(address.String()).Of(preflight.Error))
}

// TestEveryTableOfTheSchemaIsKnown: a table of a migration that the list lacks would be checked
// neither for privileges nor for row security.
func TestEveryTableOfTheSchemaIsKnown(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	rows, err := e.conn.Query(t.Context(), `SELECT relname::text FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname ~ '^(relay|outbox)_'
		  AND relname NOT IN ('outbox_events', 'outbox_schema_version')`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 6 {
		t.Fatalf("tables %v, %v", tables, err)
	}
	for _, name := range tables {
		if !slices.ContainsFunc(outboxtable.OwnTables, func(t outboxtable.OwnTable) bool { return t.Name == name }) {
			t.Errorf("outboxtable.OwnTables lacks %s", name)
		}
	}
}

// TestEachMissingRightIsNamed with the statement that grants it.
func TestEachMissingRightIsNamed(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	name := "lacks_" + strings.TrimPrefix(e.conn.Config().Database, "test_")
	role := pgx.Identifier{name}.Sanitize()
	admin := connect(t, pgtest.SuperuserURL(t, e.url))
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE ROLE ` + role + ` LOGIN REPLICATION PASSWORD 'x'; GRANT USAGE ON SCHEMA public TO ` + role)
	exec(`GRANT SELECT ON ev TO ` + role)
	defer exec(`DROP OWNED BY ` + role + `; DROP ROLE ` + role)
	for _, table := range outboxtable.OwnTables {
		exec(`GRANT ` + strings.Join(table.Privileges, ", ") + ` ON ` + table.Name + ` TO ` + role)
	}
	address, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(name, "x")
	for _, own := range outboxtable.OwnTables {
		table := own.Name
		for _, verb := range own.Privileges {
			exec(`REVOKE ` + verb + ` ON ` + table + ` FROM ` + role)
			level := preflight.Error
			if own.Report {
				level = preflight.Degraded
			}
			problems := slices.DeleteFunc(e.checkAs(address.String()).Of(level), func(f preflight.Finding) bool {
				return f.Code != preflight.CodeRelayTables
			})
			if len(problems) == 0 || problems[0].Code != preflight.CodeRelayTables ||
				!strings.HasPrefix(problems[0].Statement, "GRANT "+verb+" ON "+table+" TO ") {
				t.Fatalf("without %s on %s: %s", verb, table, problems)
			}
			exec(problems[0].Statement)
		}
	}
	if problems := e.checkAs(address.String()).Of(preflight.Error); len(problems) > 0 {
		t.Errorf("with every right: %s", problems)
	}
}
