package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
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

// The checkpoint is behind an earlier event that its destination does not accept. The dead letter
// alone shows the outcome of the refused one.
func TestDiscardedEventIsReplayedAtOnce(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	billing, err := w.broker.CreateQueue("billing.fifo", nil)
	w.must(err)
	refused := w.refuseBody(numbered(2))
	throttled := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Destination: "orders.fifo"},
		fakeaws.Throttle())
	env := []string{"RELAY_RETRY_MAX=300ms", "RELAY_ROUTES=event:order.even=" + billing.ARN}
	w.startStreaming(env...)
	w.writeHourly(1, 4)
	w.eventually("event 2 is parked, and event 4 delivered", func() bool {
		return w.deadLetters() == "parked" && w.broker.ReceivedCount(billing.ARN) == 1
	})
	refused.Clear()
	id := w.query(`SELECT id::text FROM outbox_events WHERE seq = 2`)
	output, err := w.command(env, "replay", "--event-id", id, "--yes")
	if err == nil || !strings.Contains(output, "excluded: 1 that are parked") {
		t.Errorf("the event is parked: %v: %s", err, output)
	}
	w.discard("1")
	w.replay("--event-id", id, "--yes")
	if got := w.broker.Received(billing.ARN); len(got) != 2 || got[1].Body != numbered(2) {
		t.Errorf("billing received %+v", got)
	}
	throttled.Clear()
	w.awaitBody(numbered(3))
}

func (w *testEnv) discard(args ...string) {
	w.t.Helper()
	if output, err := w.command(nil, append([]string{"dead-letters", "discard"}, args...)...); err != nil {
		w.t.Fatalf("discard: %v: %s", err, output)
	}
}

// A relay that is killed right after a delivery has not recorded it. Its successor does.
func TestReplayWaitsUntilADeliveryIsRecorded(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders.fifo")
	w.deliver(1)
	locked, err := w.pool.Begin(t.Context())
	w.must(err)
	defer locked.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	_, err = locked.Exec(t.Context(), `SELECT FROM relay_checkpoints WHERE slot_name = $1 FOR UPDATE`, w.slot)
	w.must(err)
	w.writeHourly(2, 2)
	w.awaitBody(numbered(2))
	p := w.launch(relayBinary, nil, "replay", "--since", "2026-01-01T02:00:00Z", "--yes")
	p.awaitLog("waiting until the relay records that it delivered 1 of the events")
	w.must(locked.Commit(t.Context()))
	if err := p.wait(); err != nil || !strings.Contains(p.log.String(), "replay 1 is done: 1 of 1 events sent") {
		t.Errorf("%v: %s", err, p.log)
	}
}
