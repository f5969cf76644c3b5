package e2e_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// The rows were in the log and were not delivered before the slot was lost. Producers, restores and
// copies write transaction ids of their own, which the horizon shows. Delivered rows do not arrive
// again.
func TestRecoveryFindsRowsWithMadeUpXIDs(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, func(t *testing.T, version int) {
		w, _ := newRolesEnv(t, "orders", version)
		p := w.startStreaming()
		insert := func(body, xid string) {
			w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, xid)
				VALUES (gen_random_uuid(), 'order', '1', 't', to_json($1::text), (`+xid+`)::text::xid8)`, body)
		}
		insert("delivered", `'3'`)
		insert("delivered too", `pg_current_xact_id()`)
		w.awaitBody(`"delivered too"`)
		w.awaitDelivered()
		w.eventually("the horizon is above every writer", func() bool {
			w.exec(`SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000))`)
			return w.query(`SELECT bool_and(e.xmin::text::bigint < pg_snapshot_xmin(c.horizon)::text::bigint)::text
				FROM outbox_events e, relay_checkpoints c`) == "true"
		})
		throttled := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
		insert("long ago", `'3'`)
		insert("of a row that is delivered", `SELECT min(xid) FROM outbox_events WHERE xid > '3'`)
		insert("own", `pg_current_xact_id()`)
		w.exec(`DO $$ BEGIN
			INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, xid)
			VALUES (gen_random_uuid(), 'order', '1', 't', '"savepoint"', '4');
			EXCEPTION WHEN division_by_zero THEN NULL; END $$`)
		p.kill()
		w.dropSlot()
		throttled.Clear()
		w.startStreaming()
		for _, body := range []string{"long ago", "of a row that is delivered", "own", "savepoint"} {
			w.awaitBody(`"` + body + `"`)
		}
		if got := w.bodies(); got[`"delivered"`] != 1 || got[`"delivered too"`] != 1 {
			t.Errorf("delivered rows arrived again: %v", got)
		}
	})
}
