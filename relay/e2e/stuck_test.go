package e2e_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// The relay has stored the time of RELAY_START and waits for its slot. Then the type of the column
// changes, so that it cannot be compared with a time.
func TestImpossibleFirstStartCanBeWithdrawn(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders")
	w.exec(`CREATE TABLE events (id text PRIMARY KEY, seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
		xid xid8 NOT NULL DEFAULT pg_current_xact_id(), kind text, body text, at timestamptz DEFAULT now())`)
	w.exec(`CREATE INDEX ON events (xid)`)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE events`)
	w.exec(`INSERT INTO events (id, kind, body) VALUES ('1', 'a', '{"n":1}')`)
	env := []string{
		"RELAY_TABLE=events", "RELAY_COLUMN_EVENT_TYPE=kind", "RELAY_COLUMN_PAYLOAD=body", "RELAY_COLUMN_CREATED_AT=at",
		"RELAY_COLUMN_AGGREGATE_TYPE=", "RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_HEADERS=",
	}
	running, err := w.pool.BeginTx(t.Context(), pgx.TxOptions{})
	w.must(err)
	_, err = running.Exec(t.Context(), `SELECT pg_current_xact_id()`)
	w.must(err)
	p := w.start(append(env, "RELAY_START=since:2026-01-31T00:00:00Z")...)
	w.eventually("the time is stored", func() bool {
		return w.query(`SELECT recover_since::text FROM relay_checkpoints`) != ""
	})
	w.exec(`ALTER TABLE events ALTER at DROP DEFAULT, ALTER at TYPE bigint USING 1`)
	w.must(running.Rollback(t.Context()))
	if err := p.wait(); err == nil {
		t.Fatal("the relay ended without an error")
	}
	command := regexp.MustCompile(`relay (recover --cancel --yes)`).FindStringSubmatch(p.log.String())
	if command == nil {
		t.Fatal("the relay names no command")
	}
	if output, err := w.command(env, strings.Fields(command[1])...); err != nil {
		t.Fatalf("%s: %v: %s", command[0], err, output)
	}
	w.exec(`INSERT INTO events (id, kind, body) VALUES ('2', 'a', '{"n":2}')`)
	w.start(append(env, "RELAY_START=table")...)
	w.awaitBody(`{"n":1}`)
	w.awaitBody(`{"n":2}`)
}

func TestCancelWithoutARecoveryIsRefused(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitBody(`{"n":1}`)
	p.stop()
	if output, err := w.command(nil, "recover", "--cancel", "--yes"); err == nil ||
		!strings.Contains(output, "no recovery that could be withdrawn") {
		t.Errorf("%v: %s", err, output)
	}
}

// The relay retries until the operator grants the privilege.
func TestMissingPrivilegeIsNamedAndItsGrantHeals(t *testing.T) {
	t.Parallel()
	w, _ := newRolesEnv(t, "orders", 18)
	listen := freeAddress(t)
	p := w.startStreaming("RELAY_LISTEN=" + listen)
	w.exec(`REVOKE ALL ON relay_checkpoints FROM ` + migrations.Relay)
	w.commit(event(t, "1", `{"n":1}`))
	p.awaitLog("event=session_ended")
	w.eventually("/readyz names the fix", func() bool {
		status, body := w.get("http://" + listen + "/readyz")
		return status == 503 && strings.Contains(body, "relay check names each privilege")
	})
	w.eventually("the metric rises", func() bool { return w.oldest(listen) > 15 })
	output, err := w.command(nil, "check")
	grant := regexp.MustCompile(`GRANT [^;]+ON relay_checkpoints[^;]+;`).FindString(output)
	if err == nil || grant == "" {
		t.Fatalf("check names no GRANT: %v: %s", err, output)
	}
	w.exec(grant)
	w.drains(listen, `{"n":1}`)
}

func TestDroppedPublicationIsNamedAndHeals(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	listen := freeAddress(t)
	p := w.startStreaming("RELAY_LISTEN=" + listen)
	w.exec(`DROP PUBLICATION outbox_pub`)
	w.commit(event(t, "1", `{"n":1}`))
	p.awaitLog("event=session_ended")
	w.eventually("/readyz names the fix", func() bool {
		status, body := w.get("http://" + listen + "/readyz")
		return status == 503 && strings.Contains(body, "relay check")
	})
	output, err := w.command(nil, "check")
	create := regexp.MustCompile(`CREATE PUBLICATION [^;]+;`).FindString(output)
	if err == nil || create == "" {
		t.Fatalf("check names no statement: %v: %s", err, output)
	}
	w.exec(create)
	w.drains(listen, `{"n":1}`)
}

// Events flow meanwhile, so the relay stays ready.
func TestFailingAuditIsNamedAndHeals(t *testing.T) {
	t.Parallel()
	w, _ := newRolesEnv(t, "orders", 18)
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN=" + listen)
	w.exec(`REVOKE SELECT ON outbox_events FROM ` + migrations.Relay)
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitBody(`{"n":1}`)
	named := func() bool {
		status, body := w.get("http://" + listen + "/readyz")
		return status == 200 && strings.Contains(body, "audit retries") &&
			strings.Contains(body, "relay check names each privilege")
	}
	w.eventually("/readyz names the audit and the fix", named)
	w.exec(`GRANT SELECT ON outbox_events TO ` + migrations.Relay)
	w.eventually("the audit continues", func() bool { return !named() })
}
