package e2e_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// All replication slots of the server are in use.
func TestARecoveryNeedsNoFreeSlot(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkARecoveryNeedsNoFreeSlot)
}

func checkARecoveryNeedsNoFreeSlot(t *testing.T, version int) {
	server := newServerOf(t, pgtest.Options{
		Version:  version,
		Settings: map[string]string{"max_replication_slots": "1"},
	})
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`DELETE FROM outbox_events`)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
	w.commit(event(t, "1", `{"n":2}`))
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":3}`))
	for n := range 3 {
		w.awaitBody(fmt.Sprintf(`{"n":%d}`, n+1))
	}
	p.awaitLog("event=no_temporary_slot")
}

// A transaction holds up the snapshot, and the server would invalidate the slot while the relay
// waits.
func TestAnEndangeredSlotIsReadFirst(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkAnEndangeredSlotIsReadFirst)
}

func checkAnEndangeredSlotIsReadFirst(t *testing.T, version int) {
	server := newServerOf(t, pgtest.Options{Version: version, Settings: map[string]string{
		"max_slot_wal_keep_size": "64MB", "min_wal_size": "32MB", "max_wal_size": "32MB",
	}})
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`DELETE FROM outbox_events`)
	w.exec(`ALTER PUBLICATION outbox_pub SET (publish = 'insert')`)
	open, err := w.pool.Begin(t.Context())
	w.must(err)
	t.Cleanup(func() { _ = open.Rollback(context.WithoutCancel(t.Context())) })
	_, err = open.Exec(t.Context(), `SELECT pg_current_xact_id()`)
	w.must(err)
	for range 40 { // a megabyte each
		w.exec(`SELECT pg_logical_emit_message(false, 'padding', repeat('x', 1 << 20))`)
	}
	p := w.start()
	w.awaitBody(`{"n":1}`)
	p.awaitLog("event=slot_read_first")
	w.commit(event(t, "1", `{"n":2}`))
	w.must(open.Rollback(t.Context()))
	p.awaitLog("event=streaming")
	w.awaitBody(`{"n":2}`)
}
