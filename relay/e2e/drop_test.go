package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

// insertTypes writes an event of each type, numbered from first on. All are a day old.
func (w *testEnv) insertTypes(first int, types ...string) {
	w.t.Helper()
	for i, eventType := range types {
		w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at)
			VALUES (gen_random_uuid(), 'order', '1', $1, json_build_object('n', $2::int), now() - interval '1 day')`,
			eventType, first+i)
	}
}

const dropRoute = "RELAY_ROUTES=event:internal.*=none"

// TestDroppedEventsAreSentNowhere: neither from the log, nor from the table, nor by a replay.
// Retention removes their rows as those of delivered events.
func TestDroppedEventsAreSentNowhere(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	listen := freeAddress(t)
	env := []string{dropRoute, "RELAY_START=table", "RELAY_LISTEN=" + listen}
	w.insertTypes(1, "internal.made", "order.created") // the first start publishes them from the table
	p := w.startStreaming(env...)
	w.insertTypes(3, "internal.made", "order.created", "internal.paid")
	w.awaitBody(numbered(4))
	w.awaitDelivered()
	w.eventually("the dropped events are counted", func() bool {
		_, metrics := w.get("http://" + listen + "/metrics")
		return strings.Contains(metrics, "relay_events_dropped_total 3\n")
	})
	w.eventually("the status shows them", func() bool {
		output, err := w.command(nil, "status")
		return err == nil && strings.Contains(output, "3 dropped by RELAY_ROUTES")
	})
	p.kill()
	w.dropSlot()
	w.insertTypes(6, "internal.made", "order.created") // only the table has them
	p = w.startStreaming(env...)
	w.awaitBody(numbered(7))
	w.awaitDelivered()
	seqs := w.query(`SELECT string_agg(id::text, ' ' ORDER BY seq) FROM outbox_events WHERE seq > 5`)
	output, err := w.command([]string{dropRoute}, "replay", "--event-id", strings.Fields(seqs)[0], "--event-id",
		strings.Fields(seqs)[1], "--yes")
	if err != nil || !strings.Contains(output, "dropped by RELAY_ROUTES") ||
		!strings.Contains(output, "1 event was excluded") {
		t.Errorf("replay: %v: %s", err, output)
	}
	if got := w.replayedBodies(); got != numbered(7) {
		t.Errorf("replayed %s", got)
	}
	p.stop()
	w.startStreaming(append(env, "RELAY_RETENTION=1h")...)
	w.eventually("all rows are removed", func() bool { return w.rows() == "0" })
	for body := range w.bodies() {
		if body != numbered(2) && body != numbered(4) && body != numbered(7) {
			t.Errorf("%s was sent", body)
		}
	}
}

// TestWaitingEventsAreDroppedByNewRoutes: the deferral began when their route led to a destination.
func TestWaitingEventsAreDroppedByNewRoutes(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	p := o.startStreaming(o.env...)
	o.write(1, 60)
	o.awaitState("deferred")
	p.kill()
	o.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'other', (i % 20)::text, 'kept', json_build_object('n', i)
		FROM generate_series(61, 80) AS i`)
	o.startStreaming(append(o.env, o.env[0]+";event:t=none")...)
	o.end()
	o.eventually("the events of the other type have arrived", func() bool { return len(o.arrived()) == 20 })
	o.awaitState("")
	for n := range o.arrived() {
		if n <= 60 {
			t.Errorf("event %d was sent", n)
		}
	}
	if letters := o.deadLetters(); letters != "" {
		t.Errorf("dead letters: %s", letters)
	}
}

func TestCheckNamesTheRulesThatDropEvents(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	output, err := w.command([]string{dropRoute + ";aggregate:audit=none"}, "check")
	if want := "RELAY_ROUTES drops the events of aggregate:audit, event:internal.*"; err != nil ||
		!strings.Contains(output, fmt.Sprintf("%-9s %-16s %s", "ok", "routes", want)) {
		t.Errorf("%v: %s", err, output)
	}
}
