package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// newRolesEnv returns an environment with its own server. The tables belong to the superuser,
// the relays connect as outbox_relay, and no other role has privileges.
func newRolesEnv(t *testing.T, queue string, version int) (w *testEnv, server *pgtest.Server) {
	t.Helper()
	server = newServerOf(t, pgtest.Options{Version: version})
	w = newTestEnvOn(t, server.URL("relay", pgtest.Superuser), queue)
	if output, err := w.command(nil, "migrate"); err != nil || strings.Contains(output, "lacks the privileges") {
		t.Fatalf("relay migrate: %v: %s", err, output)
	}
	// for commands and relays; the pool remains the superuser's
	w.url = server.URL("relay", migrations.Relay)
	return w, server
}

// oldest and newest are the major versions of Postgres on which tests run that depend on it.
const oldest, newest = 15, 18

// onOldAndNew runs a test on the oldest and the newest Postgres. Version 16 changed which role may
// create and grant roles.
func onOldAndNew(t *testing.T, test func(t *testing.T, version int)) {
	t.Helper()
	for _, version := range []int{oldest, newest} {
		t.Run(fmt.Sprint("Postgres ", version), func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}

// asRole returns a connection of a role.
func asRole(t *testing.T, server *pgtest.Server, role string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL("relay", role))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func TestRolesHaveOnlyTheirPrivileges(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkPrivilegesOfRoles)
}

func checkPrivilegesOfRoles(t *testing.T, version int) {
	w, server := newRolesEnv(t, "orders", version)
	w.exec(`CREATE TABLE customers (id bigint)`)
	const event = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'o', '1', 't', '{}')`
	for role, statements := range map[string]struct{ may, mayNot []string }{
		migrations.Producer: {
			may: []string{event, `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload,
				headers, created_at)
				VALUES (gen_random_uuid(), 'o', '1', 't', '{}', '{"a": "b"}', now())`},
			mayNot: []string{
				`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, xid)
					VALUES (gen_random_uuid(), 'o', '1', 't', '{}', '1')`,
				`INSERT INTO outbox_events (id, seq, aggregate_type, aggregate_id, event_type, payload)
					OVERRIDING SYSTEM VALUE VALUES (gen_random_uuid(), 1, 'o', '1', 't', '{}')`,
				`SELECT id FROM outbox_events`, `UPDATE outbox_events SET payload = '{}'`, `DELETE FROM outbox_events`,
				`TRUNCATE outbox_events`,
				`SELECT FROM relay_checkpoints`, `DELETE FROM relay_checkpoints`, `SELECT FROM outbox_dead_letters`,
				`INSERT INTO outbox_dead_letters DEFAULT VALUES`, `SELECT FROM outbox_replays`,
				`ALTER TABLE outbox_events DISABLE TRIGGER ALL`, `CREATE TABLE t ()`,
				`SELECT pg_create_logical_replication_slot('s', 'pgoutput')`, `SELECT FROM customers`,
				`SELECT FROM outbox_schema_version`,
				`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`,
			},
		},
		migrations.Relay: {
			may: []string{
				`SELECT * FROM outbox_events`, `DELETE FROM outbox_events WHERE false`,
				`SELECT * FROM relay_checkpoints`,
				`INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier)
					VALUES ('s', 't', 1, '1')`,
				`UPDATE relay_checkpoints SET epoch = 2 WHERE slot_name = 's'`, `SELECT * FROM outbox_dead_letters`,
				`DELETE FROM outbox_dead_letters WHERE false`, `UPDATE outbox_dead_letters SET state = 'discarded'`,
			},
			mayNot: []string{
				event, `UPDATE outbox_events SET payload = '{}'`, `TRUNCATE outbox_events`,
				`DELETE FROM relay_checkpoints`, `TRUNCATE relay_checkpoints`,
				`DELETE FROM outbox_replays`,
				`DROP TABLE outbox_events`, `CREATE TABLE t ()`, `SELECT FROM customers`,
				`SELECT FROM outbox_schema_version`,
				`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`, `CREATE PUBLICATION p FOR TABLE outbox_events`,
				`CREATE ROLE r`,
			},
		},
	} {
		conn := asRole(t, server, role)
		for _, statement := range statements.may {
			if _, err := conn.Exec(t.Context(), statement); err != nil {
				t.Errorf("%s may not %s: %v", role, statement, err)
			}
		}
		for _, statement := range statements.mayNot {
			_, err := conn.Exec(t.Context(), statement)
			if refused := (*pgconn.PgError)(nil); !errors.As(err, &refused) || refused.Code != "42501" {
				t.Errorf("%s: %s is not refused with insufficient_privilege: %v", role, statement, err)
			}
		}
	}
}

func TestRelayNeedsOnlyItsRole(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkRelayRole)
}

func checkRelayRole(t *testing.T, version int) {
	w, server := newRolesEnv(t, "orders.fifo", version)
	const retention = "RELAY_RETENTION=1h"
	if output, err := w.command([]string{retention}, "check"); err != nil {
		t.Fatalf("relay check: %v: %s", err, output)
	}
	producer := asRole(t, server, migrations.Producer)
	write := func(n int) {
		_, err := producer.Exec(t.Context(), insertOld, fmt.Sprintf(`{"n":%d}`, n))
		w.must(err)
	}
	p := w.startStreaming(retention)
	refused := w.refuseBody(`{"n":1}`)
	write(1)
	w.eventually("the event is parked", func() bool { return w.deadLetters() == "parked" })
	refused.Clear()
	w.redriveAll()
	w.awaitBody(`{"n":1}`)
	w.eventually("the delivered row is removed", func() bool { return w.rows() == "0" })
	p.stop()
	w.dropSlot()
	write(2) // only the table has the event
	p = w.startStreaming(retention)
	w.awaitBody(`{"n":2}`)
	w.awaitStatus(0, "streaming")
	if output, err := w.command(nil, "recover"); err != nil {
		t.Errorf("relay recover: %v: %s", err, output)
	}
	w.eventually("all rows are removed", func() bool { return w.rows() == "0" })
	w.commit(event(t, "1", `{"young":true}`))
	w.awaitBody(`{"young":true}`)
	w.awaitDelivered()
	w.replay("--aggregate", "order/1", "--yes")
	if w.bodies()[`{"young":true}`] != 2 {
		t.Errorf("received %v, want the young event twice", w.bodies())
	}
	p.stop()
	if strings.Contains(p.log.String(), "42501") {
		t.Error("the relay ran a statement without the privilege")
	}
}

// A superuser runs the statements that relay migrate prints.
func TestMigrateCreatesRolesOrPrintsStatements(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkCreationOfRoles)
}

func checkCreationOfRoles(t *testing.T, version int) {
	for _, c := range []struct{ name, before, left string }{
		{"superuser", `ALTER ROLE relay SUPERUSER`, ""},
		{"may make roles", `ALTER ROLE relay CREATEROLE NOREPLICATION`, "ALTER ROLE outbox_relay REPLICATION;"},
		{"may make nothing", ``, "CREATE ROLE outbox_producer LOGIN CONNECTION LIMIT 250;"},
		{"RDS", `CREATE ROLE rds_replication; CREATE ROLE rds_iam; ALTER ROLE relay CREATEROLE;
			GRANT rds_replication, rds_iam TO relay WITH ADMIN OPTION`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := newServerOf(t, pgtest.Options{Version: version})
			w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
			admin := asRole(t, server, pgtest.Superuser)
			_, err := admin.Exec(t.Context(), c.before)
			w.must(err)
			output, err := w.command(nil, "migrate")
			if err != nil || !strings.Contains(output, c.left) ||
				strings.Contains(output, "lacks the privileges") == (c.left == "") {
				t.Fatalf("relay migrate: %v: %s", err, output)
			}
			if _, statements, found := strings.Cut(output, "):\n"); found {
				_, err := admin.Exec(t.Context(), statements)
				w.must(err)
			}
			if output, err = w.command(nil, "migrate"); err != nil || strings.Contains(output, "lacks the privileges") {
				t.Errorf("the second relay migrate: %v: %s", err, output)
			}
			if c.name == "RDS" {
				w.checkRDSMembers("outbox_producer in rds_iam, outbox_relay in rds_iam, outbox_relay in " +
					"rds_replication")
				// as for a role with a password
				_, err := admin.Exec(t.Context(), `REVOKE rds_iam FROM outbox_relay GRANTED BY relay`)
				w.must(err)
				_, err = w.command(nil, "migrate")
				w.must(err)
				w.checkRDSMembers("outbox_producer in rds_iam, outbox_relay in rds_replication")
				return
			}
			w.url = server.URL("relay", migrations.Relay)
			if output, err := w.command(nil, "check"); err != nil {
				t.Errorf("relay check: %v: %s", err, output)
			}
		})
	}
}

func (w *testEnv) checkRDSMembers(want string) {
	w.t.Helper()
	members := w.query(`SELECT string_agg(who, ', ' ORDER BY who) FROM (
		SELECT DISTINCT member::regrole || ' in ' || roleid::regrole FROM pg_auth_members
		WHERE member::regrole::text LIKE 'outbox%') AS m (who)`)
	if members != want {
		w.t.Errorf("memberships: %s, want %s", members, want)
	}
	if w.query(`SELECT rolreplication::text FROM pg_roles WHERE rolname = 'outbox_relay'`) != "false" {
		w.t.Error("outbox_relay has an attribute that RDS does not grant")
	}
}
