package preflight_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
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
	rights := map[string][]string{
		"relay_checkpoints":   {"SELECT", "INSERT", "UPDATE"},
		"outbox_dead_letters": {"SELECT", "INSERT", "UPDATE"},
		"outbox_replays":      {"SELECT", "INSERT", "UPDATE"},
		"relay_members":       {"SELECT", "INSERT", "UPDATE", "DELETE"},
		"relay_instances":     {"SELECT", "INSERT", "UPDATE", "DELETE"},
		"outbox_deferrals":    {"SELECT", "INSERT", "UPDATE", "DELETE"},
		"outbox_pauses":       {"SELECT", "UPDATE"},
	}
	exec(`CREATE ROLE ` + role + ` LOGIN REPLICATION PASSWORD 'x'; GRANT USAGE ON SCHEMA public TO ` + role)
	exec(`GRANT SELECT ON ev TO ` + role)
	defer exec(`DROP OWNED BY ` + role + `; DROP ROLE ` + role)
	for table, verbs := range rights {
		exec(`GRANT ` + strings.Join(verbs, ", ") + ` ON ` + table + ` TO ` + role)
	}
	address, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(name, "x")
	for table, verbs := range rights {
		for _, verb := range verbs {
			exec(`REVOKE ` + verb + ` ON ` + table + ` FROM ` + role)
			level := preflight.Error
			if table == "relay_instances" { // the relay works without it
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
