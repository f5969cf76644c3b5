package preflight_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestGrantsNameTheRole: running what is said, one after the other, leads to a role that may relay.
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
		if f.Code == preflight.CodeTable && f.Statement != `GRANT USAGE ON SCHEMA "Shop" TO `+quoted+`; GRANT SELECT ON "Shop"."ev" TO `+quoted+`;` {
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
