package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

func TestRedrivenAggregateArrivesInOrder(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	refused := w.refuseBody(`{"n":1}`)
	w.startStreaming(parksFollowers)
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
