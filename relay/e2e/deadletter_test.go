package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// refuseBody makes the default destination refuse every message with this body permanently.
func (w *testEnv) refuseBody(body string) *fakeaws.Rule {
	match := fakeaws.Match{
		Action: "SendMessageBatch",
		Entry:  func(m *fakeaws.Message) bool { return m.Body == body },
	}
	return w.broker.Script(match, fakeaws.FailEntries("InvalidMessageContents", "refused by the test", true))
}

// deadLetters returns the states of all dead letters in order.
func (w *testEnv) deadLetters() string {
	return w.query(`SELECT string_agg(state, ',' ORDER BY position) FROM outbox_dead_letters`)
}

// parkTwo starts a relay that parks two events of one aggregate, because the broker refuses the
// first.
func (w *testEnv) parkTwo() {
	w.t.Helper()
	w.startStreaming()
	w.commit(event(w.t, "1", `{"n":1}`), event(w.t, "1", `{"n":2}`))
	w.eventually("both are parked", func() bool { return w.deadLetters() == "parked,parked" })
}

// redriveAll redrives every dead letter.
func (w *testEnv) redriveAll() {
	w.t.Helper()
	if out, err := w.command(nil, "dead-letters", "redrive", "--all", "--no-wait"); err != nil {
		w.t.Fatalf("redrive: %v: %s", err, out)
	}
}

// awaitRefusedAgain waits until the first of two dead letters was redriven, and both are parked
// again.
func (w *testEnv) awaitRefusedAgain() {
	w.t.Helper()
	w.eventually("the first was refused again", func() bool {
		return w.query(`SELECT (bool_and(state = 'parked') AND max(redrives) >= 1)::text
			FROM outbox_dead_letters`) == "true"
	})
}

func TestRedriveCanBeCanceled(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	refused := w.refuseBody(`{"n":1}`)
	w.startStreaming("RELAY_RETRY_MAX=200ms")
	w.commit(event(t, "1", `{"n":1}`), event(t, "1", `{"n":2}`))
	w.eventually("both are parked", func() bool { return w.deadLetters() == "parked,parked" })
	refused.Clear()
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Unavailable())
	w.redriveAll()
	w.must(unavailable.AwaitHits(t.Context(), 3))
	if out, err := w.command(nil, "dead-letters", "redrive", "--cancel", "1"); err != nil ||
		!strings.Contains(out, "2 events stay parked") {
		t.Fatalf("cancel: %v: %s", err, out)
	}
	hits := unavailable.Hits()
	w.commit(event(t, "2", `{"n":3}`))
	w.must(unavailable.AwaitHits(t.Context(), hits+3))
	unavailable.Clear()
	w.awaitBody(`{"n":3}`)
	w.commit(event(t, "1", `{"n":4}`))
	w.eventually("the next event is parked behind them", func() bool {
		return w.deadLetters() == "parked,parked,parked"
	})
	if bodies := w.bodies(); bodies[`{"n":1}`]+bodies[`{"n":2}`] != 0 {
		t.Errorf("received %v", bodies)
	}
	w.redriveAll()
	w.awaitBody(`{"n":4}`)
	w.eventually("all are redriven", func() bool { return w.deadLetters() == "redriven,redriven,redriven" })
}

func TestRedrivenAggregateArrivesInOrder(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	refused := w.refuseBody(`{"n":1}`)
	w.startStreaming()
	for n := 1; n <= 3; n++ {
		w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, n)))
	}
	w.eventually("all are parked", func() bool { return w.deadLetters() == "parked,parked,parked" })
	if list, err := w.command(nil, "dead-letters", "list"); err != nil ||
		!strings.Contains(list, "refused by the test") || !strings.Contains(list, "3 dead letters") {
		t.Errorf("list: %v: %s", err, list)
	}
	refused.Clear()
	if out, err := w.command(nil, "dead-letters", "redrive", "--group", "order/1"); err != nil ||
		!strings.Contains(out, "3 of the parked") {
		t.Fatalf("redrive: %v: %s", err, out)
	}
	w.eventually("all are redriven", func() bool { return w.deadLetters() == "redriven,redriven,redriven" })
	w.commit(event(t, "1", `{"n":4}`))
	w.awaitBody(`{"n":4}`)
	var bodies []string
	for _, r := range w.broker.Received(w.queue.ARN) {
		bodies = append(bodies, r.Body)
		if strings.Contains(r.DeduplicationID, "#r1") == (r.Body == `{"n":4}`) {
			t.Errorf("%s has deduplication id %s", r.Body, r.DeduplicationID)
		}
	}
	if got := strings.Join(bodies, ""); got != `{"n":1}{"n":2}{"n":3}{"n":4}` {
		t.Errorf("received %s", got)
	}
}

func TestRefusedRedriveKeepsItsAggregateParked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.refuseBody(`{"n":1}`)
	w.parkTwo()
	w.redriveAll()
	w.awaitRefusedAgain()
	if got := w.bodies(); len(got) != 0 {
		t.Errorf("received %v: the second overtook the first", got)
	}
}

func TestDiscardAfterRefusedRedriveReleasesTheNext(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.refuseBody(`{"n":1}`)
	w.parkTwo()
	w.redriveAll()
	w.awaitRefusedAgain()
	// before the relay reads the dead letters again
	if out, err := w.command(nil, "dead-letters", "discard", "1"); err != nil {
		t.Fatalf("discard: %v: %s", err, out)
	}
	w.awaitBody(`{"n":2}`)
}

// A trigger redrives the dead letter before the relay reads it. The relay then finds the letter in
// state redriving, as before.
func TestImmediateSecondRedriveIsSent(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	refused := w.refuseBody(`{"n":1}`)
	w.parkTwo()
	w.exec(`CREATE FUNCTION redrive() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF OLD.state = 'redriving' AND NEW.state = 'parked' THEN NEW.state := 'redriving';
		NEW.redrives := NEW.redrives + 1; END IF;
		RETURN NEW;
	END $$`)
	w.exec(`CREATE TRIGGER redrive BEFORE UPDATE ON outbox_dead_letters FOR EACH ROW EXECUTE FUNCTION redrive()`)
	w.redriveAll()
	w.eventually("the first was refused twice more", func() bool {
		return w.query(`SELECT (max(redrives) >= 3)::text FROM outbox_dead_letters`) == "true"
	})
	refused.Clear()
	w.awaitBody(`{"n":1}`)
	w.awaitBody(`{"n":2}`)
}

// The broker may refuse the first dead letter again after the relay has read both.
func TestReparkedDeadLetterOvertakesNothing(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	refused := w.refuseBody(`{"n":1}`)
	w.parkTwo()
	refused.Clear()
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Unavailable())
	w.redriveAll()
	if err := unavailable.AwaitHits(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE outbox_dead_letters SET state = 'parked', code = 'Refused', updated_at = clock_timestamp()
		WHERE position = 2`)
	unavailable.Clear()
	w.eventually("the first is redriven", func() bool { return strings.HasPrefix(w.deadLetters(), "redriven,") })
	w.commit(event(t, "1", `{"n":3}`))
	w.eventually("the third is parked behind the second", func() bool {
		return w.deadLetters() == "redriven,parked,parked"
	})
	if diff := cmp.Diff(map[string]int{`{"n":1}`: 1}, w.bodies()); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
}

func TestDiscardUnblocksTheAggregate(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.refuseBody(`{"n":1}`)
	w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.eventually("the event is parked", func() bool { return w.deadLetters() == "parked" })
	if out, err := w.command(nil, "dead-letters", "discard", "1"); err != nil || !strings.Contains(out, "discarded 1") {
		t.Fatalf("discard: %v: %s", err, out)
	}
	w.commit(event(t, "1", `{"n":2}`))
	w.awaitBody(`{"n":2}`)
}

func TestEventsParkedBehindADeadLetterFollow(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]string{
		"discard": `{"n":2}{"n":3}{"n":4}`,
		"redrive": `{"n":1}{"n":2}{"n":3}{"n":4}`,
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			refused := w.refuseBody(`{"n":1}`)
			w.startStreaming()
			for n := 1; n <= 3; n++ {
				w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, n)))
			}
			w.eventually("all are parked", func() bool { return w.deadLetters() == "parked,parked,parked" })
			refused.Clear()
			if out, err := w.command(nil, "dead-letters", command, "1"); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			w.commit(event(t, "1", `{"n":4}`))
			w.awaitBody(`{"n":4}`)
			var bodies string
			for _, r := range w.broker.Received(w.queue.ARN) {
				bodies += r.Body
			}
			if bodies != want {
				t.Errorf("received %s, want %s", bodies, want)
			}
		})
	}
}

func TestOnlySelectedDeadLettersAreRedriven(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	for _, args := range [][]string{{"redrive"}, {"discard"}, {"show"}, {"redrive", "--all", "7"}, {"redrive", "7"}} {
		if out, err := w.command(nil, append([]string{"dead-letters"}, args...)...); err == nil ||
			!strings.Contains(out, "--all") && !strings.Contains(out, "no event in that state") {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
	refused := w.refuseBody(`{"n":1}`)
	w.refuseBody(`{"n":2}`)
	w.startStreaming()
	one := event(t, "1", `{"n":1}`)
	// the third event shows that the destination works
	w.commit(one, event(t, "2", `{"n":2}`), event(t, "3", `{"taken":true}`))
	w.eventually("both are parked", func() bool { return w.deadLetters() == "parked,parked" })
	if out, err := w.command(nil, "dead-letters", "show", "--event-id", one.ID.String()); err != nil ||
		!strings.Contains(out, `"body": "{\"n\":1}"`) {
		t.Errorf("show: %v: %s", err, out)
	}
	refused.Clear()
	if out, err := w.command(nil, "dead-letters", "redrive", "--event-id", one.ID.String()); err != nil {
		t.Fatalf("redrive: %v: %s", err, out)
	}
	w.awaitBody(`{"n":1}`)
	w.eventually("one is redriven", func() bool {
		return w.query(`SELECT count(*)::text FROM outbox_dead_letters WHERE state = 'redriven'`) == "1"
	})
}

func TestUnavailableDestinationDelaysNoOther(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	other, err := w.broker.CreateQueue("other.fifo", nil)
	w.must(err)
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Destination: "other.fifo"},
		fakeaws.Missing())
	w.startStreaming("RELAY_ROUTES=aggregate:other="+other.ARN, "RELAY_PARK_AFTER=2s", "RELAY_WINDOW_EVENTS=50")
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'other', (i % 20)::text, 't', json_build_object('n', i)
		FROM generate_series(1, 200) AS i`)
	w.commit(event(t, "1", `{"other":true}`))
	w.awaitBody(`{"other":true}`)
	w.eventually("the rest is parked", func() bool {
		return w.query(`SELECT count(*)::text FROM outbox_dead_letters WHERE state = 'parked'`) == "200"
	})
	unavailable.Clear()
	if out, err := w.command(nil, "dead-letters", "redrive", "--destination", other.ARN); err != nil ||
		!strings.Contains(out, "200") {
		t.Fatalf("redrive: %v: %s", err, out)
	}
	w.must(w.broker.AwaitReceived(t.Context(), other.ARN, 200))
	last := map[string]int{}
	for _, r := range w.broker.Received(other.ARN) {
		var n int
		if _, err := fmt.Sscanf(r.Body, `{"n" : %d}`, &n); err != nil || n <= last[r.GroupID] {
			t.Fatalf("group %s: %s after %d, %v", r.GroupID, r.Body, last[r.GroupID], err)
		}
		last[r.GroupID] = n
	}
}

// sharedID creates an outbox table whose ids are not unique, and returns the settings of its relay.
func (w *testEnv) sharedID() []string {
	w.t.Helper()
	w.exec(`CREATE TABLE events (id text, seq bigint GENERATED ALWAYS AS IDENTITY,
		xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
		kind text, body text, created_at timestamptz DEFAULT now())`)
	w.exec(`CREATE UNIQUE INDEX ON events (seq); CREATE INDEX ON events (xid)`)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE events`)
	return []string{
		"RELAY_TABLE=public.events", "RELAY_COLUMN_EVENT_TYPE=kind", "RELAY_COLUMN_PAYLOAD=body",
		"RELAY_COLUMN_AGGREGATE_TYPE=",
		"RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_HEADERS=", "RELAY_ID_UNIQUE=assert",
	}
}

// listed returns the dead letters of an event in the form of `relay dead-letters list`.
func (w *testEnv) listed(eventID string) string {
	w.t.Helper()
	out, err := w.command(nil, "dead-letters", "list", "--event-id", eventID)
	w.must(err)
	return out
}

func TestEventsSharingAnIDAreAllParked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	env := w.sharedID()
	w.startStreaming(env...)
	w.exec(`INSERT INTO events (id, kind, body)
		VALUES ('A', 'k', E'first\x01'), ('A', 'k', E'second\x01'), ('A', 'k', E'first\x01')`)
	w.eventually("all three are parked", func() bool { return w.deadLetters() == "parked,parked,parked" })
	if out := w.listed("A"); !strings.Contains(out, "3 dead letters") {
		t.Errorf("list: %s", out)
	}
	if bodies := w.query(`SELECT string_agg(event->>'body', ',' ORDER BY position)
		FROM outbox_dead_letters`); bodies != "first\x01,second\x01,first\x01" {
		t.Errorf("parked %q", bodies)
	}
}

// A table that is truncated or replaced numbers its rows from 1 again.
func TestRowWithAReusedSeqIsParkedToo(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming(w.sharedID()...)
	for _, want := range []string{"parked", "parked,parked"} {
		w.exec(`TRUNCATE events RESTART IDENTITY`)
		w.exec(`INSERT INTO events (id, kind, body) VALUES ('A', 'k', NULL)`)
		w.eventually("the row is parked", func() bool { return w.deadLetters() == want })
	}
}

// An entry of a btree index holds 2,704 bytes.
func TestEventIDTooLongForAnIndexIsParked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming(w.sharedID()...)
	w.exec(`INSERT INTO events (id, kind, body) SELECT string_agg(md5(i::text), ''), 'k', NULL
		FROM generate_series(1, 500) AS i`)
	w.eventually("the event is parked", func() bool { return w.deadLetters() == "parked" })
	if length := w.query(`SELECT length(row_event_id)::text FROM outbox_dead_letters`); length != "16000" {
		t.Errorf("the stored id has %s bytes", length)
	}
}

// The other row of the same id may be decided about long before.
func TestParkedRowStaysWhenItsTwinIsRemoved(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming(append(w.sharedID(), "RELAY_RETENTION=1s")...)
	w.exec(`INSERT INTO events (id, kind, body, created_at)
		VALUES ('A', 'k', NULL, '2001-01-01'), ('A', 'k', NULL, '2001-01-01')`)
	w.eventually("both are parked", func() bool { return w.deadLetters() == "parked,parked" })
	if out, err := w.command(nil, "dead-letters", "discard", "1"); err != nil {
		t.Fatalf("discard: %v: %s", err, out)
	}
	w.eventually("one of the rows is removed", func() bool {
		return w.query(`SELECT count(*)::text FROM events`) == "1"
	})
	if seq := w.query(`SELECT seq::text FROM events`); seq != "2" {
		t.Errorf("the row with seq %s is left, want 2", seq)
	}
}

func TestEarlierCodeSelectsDeadLetters(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	for i, code := range []string{"DestinationAway", "DestinationUnavailable", "InvalidParameterValue"} {
		w.exec(`INSERT INTO outbox_dead_letters (event_id, outbox_table, destination, message_group, blocks_group,
			code, reason, attempts, event, state)
			VALUES ($1, 'public.outbox_events', $2, '', false, $3, 'a reason', 0,
				'{"body":"{}","attributes":[],"message_group_id":"","message_deduplication_id":""}', 'parked')`,
			fmt.Sprint(i), w.queue.ARN, code)
	}
	for _, code := range []string{"DestinationAway", "DestinationUnavailable"} {
		out, err := w.command(nil, "dead-letters", "list", "--code", code)
		w.must(err)
		if strings.Count(out, ": a reason") != 2 || strings.Contains(out, "InvalidParameterValue") {
			t.Errorf("--code %s lists:\n%s", code, out)
		}
	}
	if out, err := w.command(nil, "dead-letters", "discard", "--code", "DestinationUnavailable"); err != nil ||
		!strings.Contains(out, "2") {
		t.Errorf("discard: %v: %s", err, out)
	}
	if states := w.deadLetters(); states != "discarded,discarded,parked" {
		t.Errorf("states are %s", states)
	}
}
