package e2e_test

import (
	"fmt"
	"strings"
	"testing"

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

// parksFollowers has events behind a dead letter become dead letters too.
const parksFollowers = "RELAY_ROWS_STAY=deny"

// parkTwo starts a relay that parks two events of one aggregate, because the broker refuses the
// first, and no event waits in the table.
func (w *testEnv) parkTwo() {
	w.t.Helper()
	w.startStreaming(parksFollowers)
	w.commit(event(w.t, "1", `{"n":1}`), event(w.t, "1", `{"n":2}`))
	w.eventually("both are parked", func() bool { return w.deadLetters() == "parked,parked" })
}

// redriveAll redrives every dead letter, without a wait for the outcome.
func (w *testEnv) redriveAll(env ...string) {
	w.t.Helper()
	if out, err := w.command(env, "dead-letters", "redrive", "--all", "--no-wait"); err != nil {
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
	w.startStreaming("RELAY_RETRY_MAX=200ms", parksFollowers)
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

func TestDiscardAfterRefusedRedriveReleasesTheNext(t *testing.T) {
	t.Parallel()
	discardFirstOfTwo(t, func(*testEnv) {})
}

// The outage of the second event is over when it is redriven. It then only waits behind the first.
func TestDiscardReleasesWhatAnOutageParked(t *testing.T) {
	t.Parallel()
	discardFirstOfTwo(t, func(w *testEnv) {
		w.exec(`UPDATE outbox_dead_letters SET code = 'DestinationUnavailable' WHERE position = 2`)
	})
}

// discardFirstOfTwo discards the first dead letter of an aggregate after its redrive was refused,
// and expects the second one. parked changes both before the redrive.
func discardFirstOfTwo(t *testing.T, parked func(*testEnv)) {
	t.Helper()
	w := newTestEnv(t, "orders.fifo")
	w.refuseBody(`{"n":1}`)
	w.parkTwo()
	parked(w)
	w.redriveAll()
	w.awaitRefusedAgain()
	// before the relay reads the dead letters again
	if out, err := w.command(nil, "dead-letters", "discard", "1"); err != nil {
		t.Fatalf("discard: %v: %s", err, out)
	}
	w.awaitBody(`{"n":2}`)
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
			w.startStreaming(parksFollowers)
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
	w.startStreaming("RELAY_ROUTES=aggregate:other="+other.ARN, "RELAY_PARK_AFTER=2s", "RELAY_WINDOW_EVENTS=50",
		"RELAY_ROWS_STAY=deny")
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
	checkAscending(t, w.broker.Received(other.ARN))
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
