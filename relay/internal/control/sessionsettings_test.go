package control_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
)

// session is what a control connection says about itself.
type session struct{ role, exitOnError string }

func sessionOf(t *testing.T, address string) session {
	t.Helper()
	pool, err := control.OpenPool(t.Context(), func(context.Context) (*pgx.ConnConfig, error) {
		return pgx.ParseConfig(address)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close(pool)
	var s session
	err = pool.QueryRow(t.Context(), `SELECT current_user::text, current_setting('exit_on_error')`).
		Scan(&s.role, &s.exitOnError)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A cancelled statement must leave its session alive, and privileges are those of the role that
// connects.
func TestSettingsOfTheServerChangeNoSession(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{AtLeast: 17})
	admin, err := pgx.Connect(t.Context(), server.URL("postgres", pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE ROLE app; CREATE ROLE own LOGIN; GRANT app TO own`)
	exec(`CREATE FUNCTION hostile() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
		IF session_user = 'own' THEN SET ROLE app; SET exit_on_error = on; END IF; END $$`)
	address := server.URL("postgres", "own")
	for _, c := range []struct{ set, reset string }{
		{`ALTER ROLE own SET %s`, `ALTER ROLE own RESET ALL`},
		{`ALTER DATABASE postgres SET %s`, `ALTER DATABASE postgres RESET ALL`},
		{`ALTER ROLE own IN DATABASE postgres SET %s`, `ALTER ROLE own IN DATABASE postgres RESET ALL`},
		{`CREATE EVENT TRIGGER hostile ON login EXECUTE FUNCTION hostile()`, `DROP EVENT TRIGGER hostile`},
	} {
		for _, setting := range []string{`role = app`, `exit_on_error = on`} {
			statement := c.set
			if c.reset != `DROP EVENT TRIGGER hostile` {
				statement = fmt.Sprintf(c.set, setting)
			}
			exec(statement)
			if got := sessionOf(t, address); got != (session{"own", "off"}) {
				t.Errorf("%s: the session has %+v", statement, got)
			}
			exec(c.reset)
		}
	}
}

// A role in the connection string is the operator's choice.
func TestARoleInTheConnectionStringIsKept(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{})
	admin, err := pgx.Connect(t.Context(), server.URL("postgres", pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	_, err = admin.Exec(t.Context(), `CREATE ROLE app; CREATE ROLE other; CREATE ROLE own LOGIN;
		GRANT app, other TO own; ALTER ROLE own SET role = other`)
	if err != nil {
		t.Fatal(err)
	}
	for _, choice := range []string{
		"role=app", "ROLE=app", "options=-c%20role%3Dapp", "options=-c%20work_mem%3D1MB%20--Role%3Dapp",
		"options=-crole%3Dapp",
	} {
		if got := sessionOf(t, server.URL("postgres", "own")+"&"+choice); got.role != "app" {
			t.Errorf("%s: the session has the role %s", choice, got.role)
		}
	}
	if got := sessionOf(t, server.URL("postgres", "own")+"&options=-c%20app.role%3Dapp"); got.role != "own" {
		t.Errorf("another setting: the session has the role %s", got.role)
	}
}
