package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// insertOld writes an event that was created a day ago.
const insertOld = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at)
	VALUES (gen_random_uuid(), 'order', '1', 'order.created', $1::json, now() - interval '1 day')`

// rows returns how many rows the outbox table has.
func (w *testEnv) rows() string { return w.query(`SELECT count(*)::text FROM outbox_events`) }

func TestDeliveredRowsAreRemovedOnceTheyAreOld(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	listen := freeAddress(t)
	w.startStreaming("RELAY_RETENTION=1h", "RELAY_LISTEN="+listen)
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at)
		SELECT gen_random_uuid(), 'order', i::text, 'order.created', json_build_object('n', i), now() - interval '1 day'
		FROM generate_series(1, 3500) AS i`)
	w.commit(event(t, "1", `{"young":true}`))
	w.awaitAll(3501)
	w.eventually("only the young row is left", func() bool { return w.rows() == "1" })
	w.eventually("the rows are counted", func() bool {
		_, metrics := w.get("http://" + listen + "/metrics")
		return strings.Contains(metrics, `relay_rows_removed_total{table="outbox"} 3500`)
	})
}

func TestRowsAreNotRemovedBeforeTheyAreDelivered(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming("RELAY_RETENTION=1s")
	w.exec(insertOld, `{"n":1}`)
	w.awaitBody(`{"n":1}`)
	w.eventually("the delivered row is removed", func() bool { return w.rows() == "0" })
	throttled := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	w.exec(insertOld, `{"n":2}`)
	p.awaitLog("have to stay")
	p.stop()
	w.dropSlot() // now only the table has the event
	w.exec(insertOld, `{"n":3}`)
	throttled.Clear()
	w.startStreaming("RELAY_RETENTION=1s")
	w.awaitBody(`{"n":3}`)
	for n := 1; n <= 3; n++ {
		if got := w.bodies()[fmt.Sprintf(`{"n":%d}`, n)]; got != 1 {
			t.Errorf("event %d arrived %d times", n, got)
		}
	}
	w.eventually("all rows are removed", func() bool { return w.rows() == "0" })
}

// Their seq is lower than that of rows that were removed long before.
func TestRowsCommittedLateAreRemovedToo(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders.fifo")
	w.startStreaming("RELAY_RETENTION=1s")
	tx, err := w.pool.Begin(t.Context())
	w.must(err)
	defer tx.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	w.must(outbox.Insert(t.Context(), tx, event(t, "late", `{"late":true}`)))
	w.exec(insertOld, `{"n":1}`)
	w.eventually("the row that committed first is removed", func() bool {
		return len(w.bodies()) == 1 && w.rows() == "0"
	})
	w.must(tx.Commit(t.Context()))
	w.awaitBody(`{"late":true}`)
	w.eventually("the late row is removed", func() bool { return w.rows() == "0" })
}

func TestCheckRefusesRetentionWithoutPrivileges(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`REVOKE DELETE ON outbox_events, outbox_dead_letters FROM CURRENT_USER`)
	w.exec(`ALTER TABLE outbox_events ALTER created_at DROP DEFAULT, ALTER created_at TYPE text`)
	if output, err := w.command(nil, "check"); err != nil {
		t.Errorf("without retention: %v: %s", err, output)
	}
	output, err := w.command([]string{"RELAY_RETENTION=1h"}, "check")
	for _, problem := range []string{
		`GRANT DELETE ON "public"."outbox_events"`, "GRANT DELETE ON outbox_dead_letters", "column created_at",
	} {
		if err == nil || !strings.Contains(output, problem) {
			t.Errorf("%v: check does not say %q: %s", err, problem, output)
		}
	}
	output, err = w.command([]string{"RELAY_RETENTION=1h", "RELAY_COLUMN_CREATED_AT="}, "check")
	if err == nil || !strings.Contains(output, "RELAY_RETENTION needs a column") {
		t.Errorf("%v: %s", err, output)
	}
}
