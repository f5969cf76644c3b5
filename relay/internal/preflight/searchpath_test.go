package preflight_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestRolesThatMayCreateFunctionsAreFound: a function in the search path can run as the relay.
func TestRolesThatMayCreateFunctionsAreFound(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	role := "creator_of_" + strings.ReplaceAll(strings.TrimPrefix(e.conn.Config().Database, "test_"), "-", "_")
	admin := connect(t, pgtest.SuperuserURL(t, e.url))
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(`CREATE ROLE ` + role)
	defer exec(`DROP OWNED BY ` + role + `; DROP ROLE ` + role)
	e.expectSound()
	exec(`CREATE SCHEMA beside; GRANT CREATE ON SCHEMA beside TO PUBLIC`)
	exec(`GRANT CREATE ON SCHEMA public TO ` + pgtest.Role)
	e.expectSound()
	for _, creator := range []string{"PUBLIC", role, "PUBLIC, " + role} {
		exec(`GRANT CREATE ON SCHEMA public TO ` + creator)
		f := e.expect(preflight.CodeSearchPath, preflight.Degraded, creator+" may create", "role "+pgtest.Role)
		if want := `REVOKE CREATE ON SCHEMA public FROM ` + creator + `;`; f.Statement != want {
			t.Errorf("the statement is %s, want %s", f.Statement, want)
		}
		exec(f.Statement)
		e.expectSound()
	}
	exec(`GRANT ` + role + ` TO ` + pgtest.Role)
	exec(`GRANT CREATE ON SCHEMA public TO ` + role)
	exec(`ALTER TABLE ev OWNER TO ` + role)
	e.expectSound() // a trigger of the table runs as the relay too
}
