package preflight_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
)

// TestCheckNamesTheRoleOfTheRelay: a check as the owner says nothing about the privileges of the
// relay.
func TestCheckNamesTheRoleOfTheRelay(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	role := "relay_of_" + strings.ReplaceAll(strings.TrimPrefix(e.conn.Config().Database, "test_"), "-", "_")
	admin := connect(t, pgtest.SuperuserURL(t, e.url))
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(`CREATE ROLE ` + role + ` REPLICATION`)
	defer exec(`DROP ROLE IF EXISTS ` + role)
	pool, err := pgxpool.New(t.Context(), e.url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	check := func() preflight.Findings {
		return preflight.RelayRole(t.Context(), pool, e.Slot, preflight.Progress{})
	}
	if found := check(); found != nil {
		t.Errorf("without a relay: %v", found)
	}
	e.exec(`INSERT INTO relay_instances (slot_name, instance, started_at, report) VALUES
		('relay_check', 'old', now(), '{}'), ('other', 'b', now(), '{"role": "postgres"}')`)
	if found := check(); found != nil {
		t.Errorf("with a relay of another slot, and one that names no role: %v", found)
	}
	e.exec(`INSERT INTO relay_instances (slot_name, instance, started_at, report) VALUES
		('relay_check', 'a', now(), jsonb_build_object('role', '` + role + `'))`)
	expect(t, check(), preflight.CodeRole, preflight.Degraded, "connects as "+role, "this check as "+pgtest.Role)
	exec(`ALTER ROLE ` + role + ` NOREPLICATION`)
	found := check()
	if problems := found.Of(preflight.Error); len(problems) != 1 ||
		problems[0].Statement != `ALTER ROLE `+role+` REPLICATION;` {
		t.Errorf("a relay that may not replicate: %v", found)
	}
	exec(`DROP ROLE ` + role)
	if problems := check().Of(preflight.Error); len(problems) != 1 ||
		!strings.Contains(problems[0].Explanation, "does not exist") {
		t.Errorf("a role that is gone: %v", problems)
	}
}

// TestAnotherClientOfTheSlotIsNoRelay: Debezium's connector holds the slot that a relay takes over.
func TestAnotherClientOfTheSlotIsNoRelay(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	database := strings.ReplaceAll(e.conn.Config().Database, "-", "_") // each server has one namespace of slots
	pool, err := pgxpool.New(t.Context(), e.url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for other, findings := range map[string]int{"Debezium Streaming": 0, "": 1} {
		// a slot each, because the server drops that of a closed session some time later
		e.Slot = fmt.Sprintf("of_%s_%d", database, findings)
		application := cmp.Or(other, replication.ApplicationName(e.Slot))
		hold := holdSlot(t, e, application)
		if found := preflight.RelayRole(t.Context(), pool, e.Slot, preflight.Progress{}); len(found) != findings {
			t.Errorf("%s holds the slot: %v", application, found)
		}
		_ = hold.Close(t.Context())
	}
}

// holdSlot creates the slot in a session of a superuser, which holds it until the session ends.
func holdSlot(t *testing.T, e *testEnv, application string) *pgconn.PgConn {
	t.Helper()
	config, err := pgconn.ParseConfig(pgtest.SuperuserURL(t, e.url))
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["replication"], config.RuntimeParams["application_name"] = "database", application
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	create := "CREATE_REPLICATION_SLOT " + e.Slot + " TEMPORARY LOGICAL pgoutput"
	if _, err := conn.Exec(t.Context(), create).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return conn
}
