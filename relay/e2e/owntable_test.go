package e2e_test

import (
	"slices"
	"strings"
	"testing"
)

// The events come from the table, from the log, and from a recovery after the slot was lost.
func TestQuotedNamesAreRelayed(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.exec(`CREATE SCHEMA "Shop"`)
	w.exec(`CREATE TABLE "Shop"."Outbox.Messages" ("Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "Kind" text,
		"Body ""text""" text,
		"Seq" bigint GENERATED ALWAYS AS IDENTITY, "Xid" xid8 NOT NULL DEFAULT pg_current_xact_id(),
		"At" timestamptz DEFAULT now())`)
	w.exec(`CREATE UNIQUE INDEX ON "Shop"."Outbox.Messages" ("Seq")`)
	w.exec(`CREATE INDEX ON "Shop"."Outbox.Messages" ("Xid")`)
	w.exec(`CREATE PUBLICATION "Outbox Pub" FOR TABLE "Shop"."Outbox.Messages" WITH (publish = 'insert')`)
	env := []string{
		`RELAY_TABLE="Shop"."Outbox.Messages"`, `RELAY_PUBLICATION="Outbox Pub"`, `RELAY_COLUMN_ID="Id"`,
		`RELAY_COLUMN_EVENT_TYPE="Kind"`,
		`RELAY_COLUMN_PAYLOAD="Body ""text"""`, `RELAY_COLUMN_SEQUENCE="Seq"`, `RELAY_COLUMN_XID="Xid"`,
		"RELAY_COLUMN_AGGREGATE_TYPE=",
		"RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_HEADERS=", "RELAY_COLUMN_CREATED_AT=", "RELAY_START=table",
	}
	const insert = `INSERT INTO "Shop"."Outbox.Messages" ("Kind", "Body ""text""") VALUES ('made', $1)`
	w.exec(insert, "from the table")
	output, err := w.command(env, "check")
	if err != nil || !strings.Contains(output, "degraded  aggregate") {
		t.Errorf("%v: %s", err, output)
	}
	p := w.startStreaming(env...)
	w.exec(insert, "from the log")
	w.awaitBody("from the log")
	w.awaitBody("from the table")
	p.stop()
	if !strings.Contains(p.log.String(), "finding=aggregate") {
		t.Error("the relay does not warn that it cannot keep the order")
	}
	w.dropSlot()
	w.exec(insert, "after the slot")
	w.startStreaming(append(env, `RELAY_RETENTION=1s`, `RELAY_COLUMN_CREATED_AT="At"`)...)
	w.awaitBody("after the slot")
	w.eventually("the delivered rows are removed", func() bool {
		return w.query(`SELECT count(*)::text FROM "Shop"."Outbox.Messages"`) == "0"
	})
}

// ownColumns maps the columns of a table without headers, aggregate and creation time.
var ownColumns = []string{
	"RELAY_TABLE=ev", "RELAY_COLUMN_AGGREGATE_TYPE=", "RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_HEADERS=",
	"RELAY_COLUMN_CREATED_AT=",
}

// The columns were added without a rewrite of the table.
func TestRowsOlderThanTheColumnsAreRelayed(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE TABLE ev (id bigserial PRIMARY KEY, event_type text DEFAULT 'made', payload text)`)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE ev`)
	w.exec(`INSERT INTO ev (payload) VALUES ('old')`)
	w.exec(`ALTER TABLE ev ADD COLUMN xid xid8 NOT NULL DEFAULT '3'`)
	w.exec(`ALTER TABLE ev ALTER COLUMN xid SET DEFAULT pg_current_xact_id()`)
	w.exec(`CREATE INDEX ON ev (xid)`)
	env := append(slices.Clone(ownColumns), "RELAY_COLUMN_SEQUENCE=id", "RELAY_START=table")
	p := w.startStreaming(env...)
	w.exec(`INSERT INTO ev (payload) VALUES ('new')`)
	w.awaitBody("new")
	w.eventually("the horizon covers the new row", func() bool {
		return w.query(`SELECT pg_visible_in_snapshot((SELECT max(xid) FROM ev), horizon)::text
			FROM relay_checkpoints`) == "true"
	})
	p.stop()
	w.dropSlot()
	w.exec(`INSERT INTO ev (payload) VALUES ('newer')`)
	w.startStreaming(env...)
	w.awaitBody("newer")
	if got := w.bodies(); got["old"] != 1 || got["new"] != 1 {
		t.Errorf("received %v, want each once", got)
	}
}

// Otherwise the relay would store the time, and no recovery could compare a row with it.
func TestStartSinceNeedsATimestampColumn(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`ALTER TABLE outbox_events ALTER created_at DROP DEFAULT, ALTER created_at TYPE bigint USING 0`)
	for _, command := range []string{"check", "run"} {
		output, err := w.command([]string{"RELAY_START=since:2026-01-01T00:00:00Z"}, command)
		if err == nil || !strings.Contains(output, "RELAY_START=since:") || !strings.Contains(output, "bigint") {
			t.Errorf("relay %s: %v: %s", command, err, output)
		}
	}
	if rows := w.query(`SELECT count(*)::text FROM relay_checkpoints`); rows != "0" {
		t.Error("the relay wrote a checkpoint before it checked the column")
	}
}
