package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// awaitDelivered waits until all events count as delivered.
func (w *testEnv) awaitDelivered() { w.awaitDeliveredOf("outbox_events", "xid") }

func (w *testEnv) awaitDeliveredOf(table, xid string) {
	w.t.Helper()
	w.eventually("all events are visible in the horizon", func() bool {
		// the horizon advances only while the log grows
		w.exec(`SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000))`)
		return w.query(`SELECT bool_and(pg_visible_in_snapshot(`+xid+`, horizon))::text
			FROM `+table+`, relay_checkpoints WHERE slot_name = $1`, w.slot) == "true"
	})
}

// replayed returns the messages of a replay that the default destination has accepted, without the
// repetitions that it dropped.
func (w *testEnv) replayed() (receipts []fakeaws.Receipt) {
	for _, r := range w.broker.Received(w.queue.ARN) {
		if attribute(r.Attributes, outbox.AttributeReplay) != "" && !r.Duplicate {
			receipts = append(receipts, r)
		}
	}
	return receipts
}

// replayedBodies returns the bodies of the replayed messages as one text.
func (w *testEnv) replayedBodies() string {
	var bodies strings.Builder
	for _, r := range w.replayed() {
		bodies.WriteString(r.Body)
	}
	return bodies.String()
}

// deliver starts a relay and writes n events of four aggregates. It waits until all of them count
// as delivered.
func (w *testEnv) deliver(n int) *process {
	w.t.Helper()
	p := w.startStreaming()
	w.writeHourly(1, n)
	w.awaitAll(n)
	w.awaitDelivered()
	return p
}

// writeHourly writes events of four aggregates, numbered from first to last. Event n was created n
// hours after the start of 2026.
func (w *testEnv) writeHourly(first, last int) {
	w.t.Helper()
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers, created_at)
		SELECT gen_random_uuid(), 'order', (i % 4)::text, CASE i % 2 WHEN 0 THEN 'order.even' ELSE 'order.odd' END,
		json_build_object('n', i),
			'{"a": "1", "b": "2", "c": "3", "d": "4"}', '2026-01-01 00:00Z'::timestamptz + i * interval '1 hour'
		FROM generate_series($1::integer, $2) AS i`, first, last)
}

func numbered(n int) string { return fmt.Sprintf(`{"n" : %d}`, n) }

// replay runs a replay to its end.
func (w *testEnv) replay(args ...string) string {
	w.t.Helper()
	output, err := w.command(nil, append([]string{"replay"}, args...)...)
	if err != nil {
		w.t.Fatalf("replay %v: %v: %s", args, err, output)
	}
	return output
}

// checkReplayedInOrder checks that events 1 to n were replayed once each, in the order of each
// aggregate.
func (w *testEnv) checkReplayedInOrder(n int) {
	w.t.Helper()
	replayed := w.replayed()
	checkAscending(w.t, replayed)
	bodies := map[string]bool{}
	for _, r := range replayed {
		bodies[r.Body] = true
	}
	if len(bodies) != n {
		w.t.Errorf("%d of %d events were replayed", len(bodies), n)
	}
}

func TestReplayedEventIsMarkedAndKeepsItsID(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.deliver(40)
	if out := w.replay("--aggregate", "order/1", "--yes"); !strings.Contains(out,
		"replay 1 is done: 10 of 10 events sent") {
		t.Errorf("replay said: %s", out)
	}
	first := map[string]fakeaws.Receipt{}
	for _, r := range w.broker.Received(w.queue.ARN)[:40] {
		first[r.Body] = r
	}
	var want string
	for n := 1; n <= 40; n += 4 {
		want += numbered(n)
	}
	if got := w.replayedBodies(); got != want {
		t.Errorf("replayed %s, want %s", got, want)
	}
	for _, r := range w.replayed() {
		before := first[r.Body]
		for _, name := range []string{"event_id", "event_type", "aggregate_id", "occurred_at", "sequence"} {
			if attribute(r.Attributes, name) == "" ||
				attribute(r.Attributes, name) != attribute(before.Attributes, name) {
				t.Errorf("%s: %s is %q, was %q", r.Body, name, attribute(r.Attributes, name),
					attribute(before.Attributes, name))
			}
		}
		if r.DeduplicationID != before.DeduplicationID+"#p1" || r.GroupID != before.GroupID ||
			len(before.Attributes) != 10 || len(r.Attributes) != 10 {
			t.Errorf("%s: deduplication id %s, was %s; %d attributes, were %d", r.Body, r.DeduplicationID,
				before.DeduplicationID,
				len(r.Attributes), len(before.Attributes))
		}
		if mark := attribute(r.Attributes, "replay"); mark != "1" || attribute(before.Attributes, "replay") != "" {
			t.Errorf("%s: replay is %q, was %q", r.Body, mark, attribute(before.Attributes, "replay"))
		}
	}
	// within the broker's deduplication interval of the first replay
	w.replay("--aggregate", "order/1", "--yes")
	if got := w.replayedBodies(); got != want+want {
		t.Errorf("replayed %s", got)
	}
}

func TestReplayWithoutYesIsADryRun(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	billing, err := w.broker.CreateQueue("billing.fifo", nil)
	w.must(err)
	w.refuseBody(numbered(7))
	w.startStreaming()
	w.writeHourly(1, 8)
	w.eventually("seven arrive and one is parked", func() bool {
		return len(w.bodies()) == 7 && w.deadLetters() == "parked"
	})
	w.awaitDelivered()
	throttled := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	w.writeHourly(9, 10)
	w.must(throttled.AwaitHits(t.Context(), 1))
	output, err := w.command([]string{"RELAY_ROUTES=event:order.even=" + billing.ARN}, "replay", "--since",
		"2026-01-01T03:00:00Z")
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for _, want := range []string{
		"5 events of public.outbox_events, created from 2026-01-01 03:00:00+00 to 2026-01-01 08:00:00+00",
		"3  order  order.even  to billing.fifo", "2  order  order.odd   to orders.fifo",
		"2 that are not known to be delivered yet", "1 that are parked", "nothing is sent yet", "--yes",
	} {
		if !strings.Contains(output, want) {
			t.Errorf("the dry run does not say %q:\n%s", want, output)
		}
	}
	if asked := w.query(`SELECT count(*)::text FROM outbox_replays`); asked != "0" {
		t.Errorf("%s replays are asked for", asked)
	}
	throttled.Clear()
	// the interval excludes 06:00
	w.replay("--since", "2026-01-01T03:00:00Z", "--until", "2026-01-01T06:00:00Z", "--yes")
	got := w.replayedBodies()
	for n := 3; n <= 5; n++ { // three aggregates arrive in any order
		got = strings.Replace(got, numbered(n), "", 1)
	}
	if got != "" || len(w.replayed()) != 3 {
		t.Errorf("replayed %s", w.replayedBodies())
	}
}

func TestInvalidReplayIsRefused(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	for _, c := range []struct{ args, reason string }{
		{"", "say which events"},
		{"--yes", "say which events"},
		{"--aggregate order", "TYPE/ID"},
		{"--since 2026-01-02T00:00:00Z --until 2026-01-01T00:00:00Z", "before --until"},
		{"--aggregate order/1 --rate 0", "--rate is 0"},
		{"--aggregate order/1 --resume 1", "alone"},
		{"--resume 1 --stop 1", "alone"},
		{"--since 2026-01-02T00:00:00Z --column-created-at=", "RELAY_COLUMN_CREATED_AT"},
		{"--aggregate order/1", "no relay has used slot"},
		{"--resume 1", "has no replay 1"},
		{"--since yesterday", `"yesterday" is no time: write an age as in 90m`},
	} {
		if output, err := w.command(nil, append([]string{"replay"}, strings.Fields(c.args)...)...); err == nil ||
			!strings.Contains(output, c.reason) {
			t.Errorf("%s: %v: %s", c.args, err, output)
		}
	}
	w.deliver(4)
	id := w.query(`SELECT id::text FROM outbox_events WHERE seq = 2`)
	const unknown = "00000000-0000-0000-0000-00000000000a"
	for _, c := range []struct{ args, reason string }{
		{"--event-id " + unknown, unknown + " cannot be replayed"},
		{"--event-id nonsense", "nonsense"},
		{"--event-id " + id + " --aggregate order/1", "no event that was delivered is selected"},
		{"--aggregate order/1 --table public.events", "relays table public.outbox_events"},
		{"--aggregate order/1 --column-event-type kind", "RELAY_COLUMN_"},
	} {
		if output, err := w.command(nil, append([]string{"replay"}, strings.Fields(c.args)...)...); err == nil ||
			!strings.Contains(output, c.reason) {
			t.Errorf("%s: %v: %s", c.args, err, output)
		}
	}
	if out := w.replay("--event-id", unknown, "--event-id", strings.ToUpper(id), "--yes"); !strings.Contains(out,
		unknown+" cannot be replayed") {
		t.Errorf("replay said: %s", out)
	}
	if got := w.replayedBodies(); got != numbered(2) {
		t.Errorf("replayed %s", got)
	}
}

func TestReplaySaysThatNoRelayRuns(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.deliver(4).stop()
	if out := w.replay("--aggregate", "order/1"); !strings.Contains(out, "no relay runs") {
		t.Errorf("the dry run said: %s", out)
	}
	p := w.launch(relayBinary, nil, "replay", "--aggregate", "order/1", "--yes")
	p.awaitLog("no relay runs")
	w.startStreaming()
	if err := p.wait(); err != nil || !strings.Contains(p.log.String(), "replay 1 is done: 1 of 1 events sent") {
		t.Errorf("%v: %s", err, p.log)
	}
}

func TestRefusedReplayDelaysNothing(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN="+listen, "RELAY_ON_REJECTED=halt")
	w.writeHourly(1, 8)
	w.awaitAll(8)
	w.awaitDelivered()
	w.refuseBody(numbered(3))
	output, err := w.command(nil, "replay", "--since", "2026-01-01T00:00:00Z", "--yes")
	id := w.query(`SELECT id::text FROM outbox_events WHERE seq = 3`)
	if err == nil || !strings.Contains(output, "7 of 8 events sent, 1 refused") || !strings.Contains(output, id) ||
		!strings.Contains(output, "refused by the test") {
		t.Errorf("%v: %s", err, output)
	}
	w.writeHourly(9, 12) // event 11 belongs to the same aggregate
	w.awaitBody(numbered(11))
	if parked := w.query(`SELECT count(*)::text FROM outbox_dead_letters`); parked != "0" {
		t.Errorf("%s events are parked", parked)
	}
	_, metrics := w.get("http://" + listen + "/metrics")
	for _, want := range []string{
		fmt.Sprintf(`relay_events_replayed_total{code="",destination="%s"} 7`, w.queue.ARN),
		fmt.Sprintf(`relay_events_replayed_total{code="InvalidMessageContents",destination="%s"} 1`, w.queue.ARN),
		"relay_dead_letters 0",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
}
