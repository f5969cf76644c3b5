package replay

import (
	"fmt"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// nothing is a horizon that shows no event.
const nothing = "3:3:"

// The dead letter of an event shows its outcome before the horizon does. That of another slot shows
// nothing.
func TestAClosedDeadLetterNeedsNoHorizon(t *testing.T) {
	t.Parallel()
	r := newFixture(t, 6, 10)
	for seq, c := range map[int]struct{ slot, state string }{
		1: {"slot", "parked"},
		2: {"slot", "discarded"},
		3: {"slot", "redriven"},
		4: {"other", "discarded"},
		5: {"slot", "redriving"},
	} {
		r.letter(seq, c.slot, c.state)
	}
	plan, err := r.operator.Plan(t.Context(), Selection{}, nothing)
	r.must(err)
	if plan.Events != 2 || plan.Parked != 2 || plan.Undelivered != 2 {
		t.Errorf("%d events, %d parked, %d undelivered; want 2 of each", plan.Events, plan.Parked, plan.Undelivered)
	}
	asked, err := r.operator.Begin(t.Context(), plan, 100)
	r.must(err)
	if got := fmt.Sprint(r.pages(asked, 10)); got != "[[2 3]]" {
		t.Errorf("read %s", got)
	}
}

// A deferral may have begun while the event was parked, and covers it then.
func TestADeferralKeepsNoDiscardedEvent(t *testing.T) {
	t.Parallel()
	r := newFixture(t, 3, 10)
	r.letter(2, "slot", "discarded")
	const queue = "arn:aws:sqs:us-east-1:000000000000:orders.fifo"
	router, err := route.Parse(route.Settings{Destination: queue})
	r.must(err)
	r.exec(`INSERT INTO outbox_deferrals (slot_name, outbox_table, destination, system_identifier, state, known,
			from_seq, routes, reason)
		VALUES ('slot', 'public.outbox_events', $1, '1', 'deferred', $2, 0, ARRAY[$3], 'r')`, queue, nothing,
		router.Text(router.Destinations()))
	plan, err := r.operator.Plan(t.Context(), Selection{}, nothing)
	r.must(err)
	asked, err := r.operator.Begin(t.Context(), plan, 100)
	r.must(err)
	if got := fmt.Sprint(r.pages(asked, 10)); got != "[[2]]" {
		t.Errorf("read %s", got)
	}
}

// letter stores the dead letter of the row with this seq.
func (r *fixture) letter(seq int, slotName, state string) {
	r.t.Helper()
	r.exec(`INSERT INTO outbox_dead_letters (event_id, outbox_table, destination, message_group, blocks_group, code,
			reason, attempts, event, state, slot_name, row_key, row_seq, row_event_id)
		SELECT id::text, 'public.outbox_events', 'arn', 'order/1', true, 'c', 'r', 1, '{}', $2, $3,
			seq || ' ' || xid || ' ' || id, seq, id::text
		FROM outbox_events WHERE seq = $1`, seq, state, slotName)
}
