package preflight_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// A hardened server revokes from PUBLIC what every role may use.
func TestRevokedFunctionsOfTheServerAreNamed(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{Settings: map[string]string{"wal_level": "logical"}})
	e := newTestEnvOn(t, server.URL("postgres", pgtest.Superuser))
	e.exec(`CREATE ROLE r LOGIN REPLICATION; ALTER TABLE ev OWNER TO r; GRANT ALL ON ALL TABLES IN SCHEMA public TO r`)
	address := server.URL("postgres", "r")
	for _, c := range []struct {
		object string
		level  preflight.Level
	}{
		{"FUNCTION pg_current_wal_insert_lsn()", preflight.Error},
		{"FUNCTION pg_control_system()", preflight.Error},
		{"FUNCTION pg_cancel_backend(integer)", preflight.Degraded},
		{"pg_prepared_xacts", preflight.Degraded},
	} {
		privilege := "SELECT"
		if c.object[0] == 'F' {
			privilege = "EXECUTE"
		}
		e.exec("REVOKE " + privilege + " ON " + c.object + " FROM PUBLIC")
		f := expect(t, e.checkAs(address), preflight.CodePrivileges, c.level)
		if want := "GRANT " + privilege + " ON " + c.object + " TO r;"; f.Statement != want {
			t.Errorf("the statement is %s, want %s", f.Statement, want)
		}
		e.exec(f.Statement)
	}
	e.exec(`REVOKE SELECT ON pg_replication_slots, pg_publication_tables FROM PUBLIC`)
	for _, f := range e.checkAs(address) {
		if f.Code == preflight.CodePrivileges {
			e.exec(f.Statement)
		}
	}
	if found := e.checkAs(address); found.Level() != preflight.OK {
		t.Errorf("after the statements: %s", found)
	}
}
