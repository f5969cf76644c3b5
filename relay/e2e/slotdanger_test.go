package e2e_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

func TestRelayWarnsWellBeforeItsSlotIsLost(t *testing.T) {
	t.Parallel()
	server := newServerWith(t, map[string]string{"max_slot_wal_keep_size": "128MB", "max_wal_size": "512MB"})
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
	listen := freeAddress(t)
	p := w.startStreaming("RELAY_LISTEN=" + listen)
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	w.commit(event(t, "1", `{"n":1}`))
	w.must(unavailable.AwaitHits(t.Context(), 1))
	if _, ready := w.get("http://" + listen + "/readyz"); strings.Contains(ready, "warning") {
		t.Errorf("a warning while the slot is safe: %s", ready)
	}
	w.exec(`CREATE TABLE other AS SELECT i, repeat('x', 500) AS padding
		FROM generate_series(1, 150000) AS i`) // about 85 MB of log
	p.awaitLog("event=slot_in_danger")
	if lost := w.query(`SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1`, w.slot); lost != "reserved" {
		t.Errorf("the warning came when wal_status was %s", lost)
	}
	const warning = "raise max_slot_wal_keep_size (now 134217728 bytes)"
	if status, ready := w.get("http://" + listen + "/readyz"); status != 200 || !strings.Contains(ready, warning) {
		t.Errorf("/readyz: %d %s", status, ready)
	}
	if status, err := w.command(nil, "status"); exitCode(err) != 2 || strings.Count(status, warning) != 1 {
		t.Errorf("status: %v: %s", err, status)
	}
	if _, metrics := w.get("http://" + listen + "/metrics"); !strings.Contains(metrics,
		`relay_slot_wal_status{status="reserved"} 1`) ||
		!strings.Contains(metrics, `relay_slot_wal_status{status="lost"} 0`) {
		t.Errorf("relay_slot_wal_status:\n%s", metrics)
	}
	unavailable.Clear()
	w.awaitBody(`{"n":1}`)
	w.eventually("the warning is gone", func() bool {
		w.exec(`INSERT INTO other VALUES (0)`) // restart_lsn advances only while the log grows
		_, ready := w.get("http://" + listen + "/readyz")
		return !strings.Contains(ready, "warning")
	})
	p.awaitLog("event=slot_out_of_danger")
	if n := strings.Count(p.log.String(), "event=slot_in_danger"); n > 2 {
		t.Errorf("warned %d times", n)
	}
}
