package e2e_test

import (
	"slices"
	"strings"
	"testing"
)

func TestReplayReadsACustomTable(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.exec(`CREATE TABLE facts (no bigint GENERATED ALWAYS AS IDENTITY, tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
		key text UNIQUE, kind text, thing text, body text, at timestamptz NOT NULL DEFAULT now())`)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE facts`)
	env := []string{
		"RELAY_TABLE=public.facts", "RELAY_COLUMN_ID=key", "RELAY_COLUMN_SEQUENCE=no", "RELAY_COLUMN_XID=tx",
		"RELAY_COLUMN_EVENT_TYPE=kind",
		"RELAY_COLUMN_AGGREGATE_TYPE=", "RELAY_COLUMN_AGGREGATE_ID=thing", "RELAY_COLUMN_PAYLOAD=body",
		"RELAY_COLUMN_HEADERS=",
		"RELAY_COLUMN_CREATED_AT=at",
	}
	w.startStreaming(env...)
	w.exec(`INSERT INTO facts (key, kind, thing, body) SELECT 'k' || i, 'kind', (i % 2)::text, 'body ' || i
		FROM generate_series(1, 6) AS i`)
	w.awaitAll(6)
	w.awaitDeliveredOf("facts", "tx")
	for _, c := range []struct{ args, want string }{
		{"--aggregate /1 --since 2020-01-01T00:00:00Z", "body 1body 3body 5"},
		{"--event-id k4,k1", "body 1body 4"},
		{"--until 2020-01-01T00:00:00Z", ""},
	} {
		before := len(w.replayed())
		output, err := w.command(env, append([]string{"replay", "--yes"}, strings.Fields(c.args)...)...)
		if c.want == "" && err == nil || c.want != "" && err != nil {
			t.Errorf("%s: %v: %s", c.args, err, output)
		}
		var bodies []string
		for _, r := range w.replayed()[before:] {
			bodies = append(bodies, r.Body)
		}
		slices.Sort(bodies) // several aggregates arrive in any order
		if got := strings.Join(bodies, ""); got != c.want {
			t.Errorf("%s: replayed %s, want %s", c.args, got, c.want)
		}
	}
}

// Retention and dead letters continue while a replay waits.
func TestReplayExcludesRemovedAndParkedRows(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.deliver(4).stop()
	w.replay("--since", "2026-01-01T00:00:00Z", "--yes", "--no-wait")
	w.exec(`DELETE FROM outbox_events WHERE seq = 2`)
	w.exec(`INSERT INTO outbox_dead_letters (event_id, outbox_table, destination, message_group, blocks_group, code,
		reason, attempts, event)
		SELECT id::text, 'public.outbox_events', $1, 'order/3', true, 'c', 'r', 1, '{}' FROM outbox_events
		WHERE seq = 3`, w.queue.ARN)
	w.startStreaming()
	if out := w.replay("--resume", "1"); !strings.Contains(out, "2 events were excluded") ||
		!strings.Contains(out, "2 of 4 events sent") {
		t.Errorf("replay said: %s", out)
	}
}

// The consumers of a redriven event have not seen it before.
func TestARedrivenEventIsNoReplay(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	refused := w.refuseBody(numbered(1))
	w.startStreaming()
	w.writeHourly(1, 1)
	w.eventually("the event is parked", func() bool { return w.deadLetters() == "parked" })
	refused.Clear()
	w.redriveAll()
	w.awaitBody(numbered(1))
	if got := w.replayedBodies(); got != "" {
		t.Errorf("%s is marked as a replay", got)
	}
	w.eventually("the event is redriven", func() bool { return w.deadLetters() == "redriven" })
	w.awaitDelivered()
	// within the deduplication interval of the redrive, and with the same attempt number
	w.replay("--aggregate", "order/1", "--yes")
	if got := w.replayedBodies(); got != numbered(1) {
		t.Errorf("replayed %q", got)
	}
}
