package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// TestTwoRelaysShareADatabase: each slot has its own table and destination, and what happens to one
// does not concern the other.
func TestTwoRelaysShareADatabase(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	billing, err := w.broker.CreateQueue("billing.fifo", nil)
	w.must(err)
	w.exec(`CREATE TABLE billing_events (LIKE outbox_events INCLUDING ALL);
		CREATE PUBLICATION billing_pub FOR TABLE billing_events WITH (publish = 'insert')`)
	second := []string{
		"RELAY_SLOT=" + w.slot + "_billing", "RELAY_PUBLICATION=billing_pub", "RELAY_TABLE=public.billing_events",
		"RELAY_DESTINATION=" + billing.URL,
	}
	const insert = `INSERT INTO billing_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'bill', '1', 'bill.sent', json_build_object('n', $1::int))`
	first := w.startStreaming()
	other := w.startStreaming(second...)
	w.commit(event(t, "1", `{"n": 1}`))
	w.exec(insert, 1)
	w.awaitReceived(1)
	w.must(w.broker.AwaitReceived(t.Context(), billing.ARN, 1))

	// The destination of one is unavailable and its relay is killed.
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Destination: "billing.fifo"},
		fakeaws.Unavailable())
	w.exec(insert, 2)
	w.must(unavailable.AwaitHits(t.Context(), 1))
	other.kill()
	for n := 2; n <= 20; n++ {
		w.commit(event(t, "1", fmt.Sprintf(`{"n": %d}`, n)))
	}
	w.awaitReceived(20)
	w.eventually("the position of the other slot moves", func() bool {
		return w.query(`SELECT (confirmed_flush_lsn > (SELECT confirmed_flush_lsn FROM pg_replication_slots
			WHERE slot_name = $2))::text FROM pg_replication_slots WHERE slot_name = $1`, w.slot,
			w.slot+"_billing") == "true"
	})

	// Each continues from its own position, and reads only its own table.
	unavailable.Clear()
	first.stop()
	w.startStreaming(second...)
	w.startStreaming()
	w.exec(insert, 3)
	w.eventually("every bill arrives", func() bool { return len(w.ids(billing.ARN, "event_id")) == 3 })
	w.commit(event(t, "1", `{"n": 21}`))
	w.awaitReceived(21)
	for arn, want := range map[string]int{w.queue.ARN: 21, billing.ARN: 3} {
		if got := len(w.ids(arn, "event_id")); got != want { // the kill may repeat an event
			t.Errorf("%s received %d events, want %d", arn, got, want)
		}
	}
	for _, env := range [][]string{nil, second} {
		output, err := w.command(env, "status")
		// The relay that was killed counts as silent after half a minute.
		if exitCode(err) > 1 || !strings.Contains(output, "streaming for") {
			t.Errorf("%v: %s", err, output)
		}
	}
}

// TestTwoSlotsOfOneTableDeliverApart: each slot delivers every event to its own destination, and a
// row stays until both have.
func TestTwoSlotsOfOneTableDeliverApart(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	archive, err := w.broker.CreateQueue("archive", nil)
	w.must(err)
	second := []string{"RELAY_SLOT=" + w.slot + "_archive", "RELAY_DESTINATION=" + archive.URL}
	w.startStreaming("RELAY_RETENTION=1s")
	other := w.startStreaming(second...)
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitReceived(1)
	w.must(w.broker.AwaitReceived(t.Context(), archive.ARN, 1))
	rows := func() string { return w.query(`SELECT count(*)::text FROM outbox_events`) }
	w.eventually("the row is removed", func() bool { return rows() == "0" })
	other.kill()
	w.commit(event(t, "1", `{"n":2}`))
	w.awaitReceived(2)
	w.eventually("the first slot counts the row as delivered", func() bool {
		return w.query(`SELECT bool_and(pg_visible_in_snapshot(xid, horizon::pg_snapshot))::text
			FROM outbox_events, relay_checkpoints WHERE slot_name = $1`, w.slot) == "true"
	})
	w.eventually("the row is old enough to be removed", func() bool {
		return w.query(`SELECT bool_and(created_at < now() - interval '3 seconds')::text FROM outbox_events`) == "true"
	})
	if rows() != "1" {
		t.Error("a row is removed that one slot has not delivered")
	}
	w.startStreaming(second...)
	w.eventually("the second slot delivers it", func() bool { return len(w.ids(archive.ARN, "event_id")) == 2 })
	w.eventually("the row is removed too", func() bool { return rows() == "0" })
}

// TestTwoSlotsKeepTheirDeadLettersApart: both deliver to one standard destination, and each has an
// event that is refused. The dead letter of one blocks no aggregate of the other, and only its own
// relay redrives it.
func TestTwoSlotsKeepTheirDeadLettersApart(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	const policy = "RELAY_ON_REJECTED=park-aggregate"
	second := []string{policy, "RELAY_SLOT=" + w.slot + "_second", "RELAY_START=now"}
	refuse := func(body string) *fakeaws.Rule {
		return w.broker.Script(fakeaws.Match{
			Action: "SendMessageBatch", Entry: func(m *fakeaws.Message) bool { return m.Body == body },
		}, fakeaws.FailEntries("InvalidMessageContents", "refused by the test", true))
	}
	first := w.startStreaming(policy)
	refused := refuse(numbered(1))
	w.insertInto("outbox_events", "1", 1, 1)
	w.eventually("the event is parked", func() bool { return w.deadLetters() == "parked" })
	first.stop()
	refused.Clear()
	w.startStreaming(second...)
	w.insertInto("outbox_events", "1", 2, 2)
	w.awaitBody(numbered(2))
	refused = refuse(numbered(3))
	w.insertInto("outbox_events", "2", 3, 3)
	w.eventually("the other slot parks an event", func() bool { return w.deadLetters() == "parked,parked" })
	refused.Clear()
	for _, settings := range [][]string{{policy}, second} {
		w.redriveAll(settings...)
	}
	w.awaitBody(numbered(3))
	if states := w.deadLetters(); !strings.HasPrefix(states, "redriving,") {
		t.Errorf("the dead letters are %s: the relay of one slot has redriven that of the other", states)
	}
	w.startStreaming(policy)
	w.awaitBody(numbered(1))
}
