package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// partitionByTime replaces the outbox table by one that is partitioned by created_at, with a
// partition for today.
func (w *testEnv) partitionByTime() {
	w.t.Helper()
	w.exec(`DROP TABLE outbox_events`)
	w.exec(`CREATE SEQUENCE numbers`)
	w.exec(`CREATE TABLE outbox_events (id uuid DEFAULT gen_random_uuid(),
		seq bigint NOT NULL DEFAULT nextval('numbers'), aggregate_type text,
		aggregate_id text, event_type text DEFAULT 't', payload text, headers jsonb,
		xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
		created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (seq, created_at)) PARTITION BY RANGE (created_at)`)
	w.exec(`CREATE INDEX ON outbox_events (xid)`)
	w.exec(`CREATE TABLE today PARTITION OF outbox_events FOR VALUES FROM ('2020-01-01') TO ('infinity')`)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
}

// fill creates a table like a partition and writes rows with an old created_at. The SQL expression
// xid computes their transaction ids from their numbers.
func (w *testEnv) fill(table, xid string, first, last int) {
	w.t.Helper()
	w.exec(`CREATE TABLE IF NOT EXISTS ` + table + ` (LIKE outbox_events INCLUDING ALL)`)
	w.exec(`INSERT INTO `+table+` (payload, xid, created_at)
		SELECT i, (`+xid+`)::text::xid8, '2001-01-01' FROM generate_series($1::int, $2) AS i`, first, last)
}

func (w *testEnv) attachOld(table string) {
	w.t.Helper()
	w.exec(`ALTER TABLE outbox_events ATTACH PARTITION ` + table + ` FOR VALUES FROM ('2000-01-01') TO ('2002-01-01')`)
}

const (
	oldXID      = `3 + i`
	newXID      = `pg_current_xact_id()`
	mixedXID    = `CASE i % 3 WHEN 0 THEN pg_current_xact_id()::text::bigint WHEN 1 THEN 3 ELSE 4000000000000 + i END`
	importedXID = `4000000000000 + i`
)

// Retention removes none of the rows before they are delivered.
func TestRowsOfAnAttachedPartitionArriveOnce(t *testing.T) {
	t.Parallel()
	for name, xid := range map[string]string{"old": oldXID, "new": newXID, "mixed": mixedXID, "imported": importedXID} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s ids, stopped %v", name, stopped), func(t *testing.T) {
				t.Parallel()
				w := newTestEnv(t, "orders")
				w.partitionByTime()
				p := w.startStreaming("RELAY_RETENTION=1s")
				w.exec(`INSERT INTO outbox_events (payload) VALUES ('before')`)
				w.awaitBody("before")
				w.awaitHorizon()
				w.fill("filled", xid, 1, 500)
				if stopped {
					p.stop()
				}
				w.attachOld("filled")
				if stopped {
					p = w.startStreaming("RELAY_RETENTION=1s")
				}
				w.awaitOnce(each(1, 500))
				p.awaitLog(alarm)
				w.exec(`INSERT INTO outbox_events (payload) VALUES ('after')`)
				w.awaitBody("after")
				if name == "old" {
					w.eventually("the rows are removed", func() bool {
						return w.query(`SELECT count(*)::text FROM filled`) == "0"
					})
				}
				w.awaitOnce(each(1, 500))
			})
		}
	}
}

// The same holds while the relay is stopped.
func TestPartitionCreatedWithRowsIsNoGap(t *testing.T) {
	t.Parallel()
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("stopped %v", stopped), func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			w.partitionByTime()
			p := w.startStreaming()
			if stopped {
				p.stop()
			}
			w.exec(`DO $$ BEGIN
				CREATE TABLE made PARTITION OF outbox_events FOR VALUES FROM ('2000-01-01') TO ('2002-01-01');
				INSERT INTO outbox_events (payload, created_at) SELECT i, '2001-01-01'
				FROM generate_series(1, 100) AS i;
			END $$`)
			if stopped {
				p = w.startStreaming()
			}
			w.eventually("the partition is accounted for", func() bool {
				return w.query(`SELECT accounted::text FROM relay_members WHERE relation = 'made'::regclass`) == "true"
			})
			w.awaitOnce(each(1, 100))
			if strings.Contains(p.log.String(), alarm) {
				t.Error("the relay gave an alarm")
			}
		})
	}
}

func TestReattachedPartitionBringsItsNewRows(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.partitionByTime()
	w.fill("moved", newXID, 1, 3)
	w.attachOld("moved")
	w.startStreaming("RELAY_START=table")
	w.awaitOnce(each(1, 3))
	w.awaitHorizon()
	w.eventually("the partition is known", func() bool {
		return w.query(`SELECT coalesce((SELECT bool_and(pg_visible_in_snapshot(xid, known)) FROM relay_members, moved
			WHERE relation = 'moved'::regclass), false)::text`) == "true"
	})
	w.exec(`ALTER TABLE outbox_events DETACH PARTITION moved`)
	w.fill("moved", oldXID, 4, 6)
	w.attachOld("moved")
	w.awaitOnce(each(1, 6))
}

// The privilege to read the outbox table includes none to read a partition by its own name.
func TestPartitionIsReadWithItsParentsPrivileges(t *testing.T) {
	t.Parallel()
	w, _ := newRolesEnv(t, "orders", 18)
	w.partitionByTime()
	w.exec(`GRANT SELECT, DELETE ON outbox_events TO ` + migrations.Relay)
	w.startStreaming("RELAY_RETENTION=1s")
	w.fill("filled", mixedXID, 1, 500)
	w.attachOld("filled")
	w.awaitOnce(each(1, 500))
}

// The identity column of the attached partition begins at 1, too.
func TestAttachedPartitionMayRepeatSeqs(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.partitionByTime()
	w.startStreaming("RELAY_RETENTION=1s")
	w.exec(`INSERT INTO outbox_events (payload, created_at) SELECT 'before', now() + interval '1 hour'
		FROM generate_series(1, 3)`)
	w.awaitBody("before")
	w.fill("filled", oldXID, 1, 3)
	w.exec(`UPDATE filled SET seq = payload::bigint`)
	w.attachOld("filled")
	w.awaitOnce(each(1, 3))
}

func TestAttachedPartitionHaltsARelaySetToHalt(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.partitionByTime()
	p := w.startStreaming("RELAY_ON_SLOT_LOSS=halt", "RELAY_RETENTION=1s")
	w.fill("filled", oldXID, 1, 3)
	w.attachOld("filled")
	if err := p.wait(); err == nil || !strings.Contains(p.log.String(), alarm) {
		t.Errorf("the relay ended with %v", err)
	}
	if out, err := w.command(nil, "status"); exitCode(err) != 2 ||
		!strings.Contains(out, "filled was attached with rows in it") {
		t.Errorf("status: %v: %s", err, out)
	}
	if out, err := w.command(nil, "recover", "--yes"); err != nil {
		t.Errorf("recover: %v: %s", err, out)
	}
	w.startStreaming("RELAY_ON_SLOT_LOSS=halt", "RELAY_RETENTION=1s")
	w.awaitOnce(each(1, 3))
}

// The producer invented the transaction id, and the log that has the rows is lost.
func TestRetentionKeepsUndeliveredRowsWithOldXIDs(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`ALTER TABLE outbox_events ALTER seq SET GENERATED BY DEFAULT`)
	p := w.startStreaming("RELAY_RETENTION=1s")
	w.exec(insertOld, `{"n":1}`)
	w.awaitBody(`{"n":1}`)
	w.eventually("the delivered row is removed", func() bool { return w.rows() == "0" })
	throttled := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at, xid)
		VALUES (gen_random_uuid(), 'order', '1', 'order.created', '{"n":2}', now() - interval '1 day', '3')`)
	p.awaitLog("have to stay")
	throttled.Clear()
	w.awaitBody(`{"n":2}`)
	w.eventually("the row is removed once it is delivered", func() bool { return w.rows() == "0" })
}

// A publication streams them under the names of their own tables.
func TestRowsOfInheritingTablesAreNoGap(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE TABLE inheriting () INHERITS (outbox_events)`)
	p := w.startStreaming()
	p.awaitLog("event=audit_begun")
	w.exec(`INSERT INTO inheriting (id, seq, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 1000 + i, 'o', '1', 't', '{}' FROM generate_series(1, 3) AS i`)
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitBody(`{"n":1}`)
	w.eventually("the horizon covers the table", func() bool {
		w.exec(`SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000))`)
		return w.query(`SELECT (SELECT bool_and(pg_visible_in_snapshot(xid, horizon)) FROM outbox_events)::text
			FROM relay_checkpoints`) == "true"
	})
	if strings.Contains(p.log.String(), alarm) {
		t.Error("the relay gave an alarm")
	}
}

// An upsert gives an old row the id of its own transaction, and updates are not streamed.
func TestUpsertedXIDsAreNoGap(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	old := event(t, "1", `{"n":1}`)
	w.commit(old)
	p := w.startStreaming("RELAY_START=table")
	w.awaitBody(`{"n":1}`)
	p.awaitLog("event=audit_begun")
	young := event(t, "1", `{"n":2}`)
	w.commit(young)
	w.awaitDelivered()
	for range 3 {
		for _, e := range []string{old.ID.String(), young.ID.String()} {
			w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
				VALUES ($1::uuid, 'order', '1', 't', '{}')
				ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, xid = excluded.xid`, e)
		}
		w.awaitDelivered()
	}
	if strings.Contains(p.log.String(), alarm) {
		t.Error("the relay gave an alarm")
	}
	if got := w.bodies(); len(got) != 2 || got[`{"n":1}`] != 1 || got[`{"n":2}`] != 1 {
		t.Errorf("received %v", got)
	}
}

// The server deletes the row in one partition and inserts it into the other. A locked row is no gap
// either.
func TestRowMovedBetweenPartitionsIsNoGap(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.partitionByTime()
	w.exec(`CREATE TABLE archive PARTITION OF outbox_events FOR VALUES FROM ('2000-01-01') TO ('2002-01-01')`)
	p := w.startStreaming()
	p.awaitLog("event=audit_begun")
	w.exec(`INSERT INTO outbox_events (payload) SELECT i FROM generate_series(1, 3) AS i`)
	w.awaitOnce(each(1, 3))
	w.awaitDelivered()
	w.exec(`SELECT FROM outbox_events FOR UPDATE`)
	w.exec(`UPDATE outbox_events SET created_at = '2001-01-01', xid = pg_current_xact_id() WHERE payload = '1'`)
	w.exec(`UPDATE outbox_events SET created_at = '2001-01-01' WHERE payload = '2'`)
	w.exec(`INSERT INTO outbox_events (payload) VALUES ('after')`)
	w.awaitBody("after")
	w.awaitDelivered()
	if strings.Contains(p.log.String(), alarm) {
		t.Error("the relay gave an alarm")
	}
	// the log has the moved rows as inserts
	if got := w.bodies(); got["1"] != 2 || got["2"] != 2 || got["3"] != 1 {
		t.Errorf("received %v", got)
	}
}
