package preflight_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
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
