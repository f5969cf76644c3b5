package preflight_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// The limit of the role or of the database is the reason that the server gives, not a walsender.
func TestALowConnectionLimitIsNamed(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{Settings: map[string]string{"wal_level": "logical"}})
	e := newTestEnvOn(t, server.URL("postgres", pgtest.Superuser))
	e.exec(`CREATE ROLE r LOGIN REPLICATION; ALTER TABLE ev OWNER TO r; GRANT ALL ON ALL TABLES IN SCHEMA public TO r`)
	address := server.URL("postgres", "r")
	for _, c := range []struct{ object, low, few, raise, says string }{
		{
			"role r", `ALTER ROLE r CONNECTION LIMIT 19`, `ALTER ROLE r CONNECTION LIMIT 1`,
			"ALTER ROLE r CONNECTION LIMIT 20;", `for role "r"`,
		},
		{
			"database postgres", `ALTER DATABASE postgres CONNECTION LIMIT 19`,
			`ALTER DATABASE postgres CONNECTION LIMIT 2`, "ALTER DATABASE postgres CONNECTION LIMIT 39;",
			`for database "postgres"`,
		},
	} {
		e.exec(c.low)
		f := expect(t, e.checkAs(address), preflight.CodeConnections, preflight.Degraded,
			c.object, "19", "up to 20", c.raise)
		e.exec(c.few)
		problems := e.checkAs(address).Of(preflight.Error)
		// While a server process of the check before exists, the first connection is refused.
		if len(problems) != 1 || !strings.Contains(problems[0].String(), c.says) ||
			strings.Contains(problems[0].String(), "max_wal_senders") {
			t.Fatalf("after %s: %s", c.few, problems)
		}
		if !preflight.OnlyTransient(problems.Err()) {
			t.Errorf("a connection may become free, and the relay would not wait: %s", problems)
		}
		e.exec(c.low)
		e.exec(f.Statement)
		if found := e.checkAs(address); found.Level() != preflight.OK {
			t.Errorf("after %s: %s", f.Statement, found)
		}
		e.exec(strings.Replace(c.low, "19", "-1", 1))
	}
	e.exec(`ALTER ROLE ` + pgx.Identifier{pgtest.Superuser}.Sanitize() + ` CONNECTION LIMIT 1`)
	e.expectSound() // no limit holds for a superuser
}
