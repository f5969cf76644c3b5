package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// aggregate is the subject of events. Its type selects their destination.
type aggregate struct {
	destination *destination
	table       string // of its events, if the relays have several
	id          string
	fragile     bool // some of its events are poison messages
	emits       bool // its events have no row
}

func (a aggregate) key() string { return a.table + a.destination.aggregateType + "/" + a.id }

// aggregates returns the aggregates of all destinations. The last one of each destination is
// fragile if the load has poison messages.
func (r *run) aggregates() []aggregate {
	var all []aggregate
	for i := range r.destinations {
		d := &r.destinations[i]
		for n := range r.plan.Load.Aggregates {
			id := fmt.Sprintf("%d", n)
			if n%5 == 4 {
				id = fmt.Sprintf("№ %d/ü", n) // needs encoding in a message group
			}
			isLast := n == r.plan.Load.Aggregates-1
			table, id := r.shape.place(n, id)
			emits := r.plan.Load.Emitted && n%4 == 1 && !isLast
			if emits {
				table = ""
			}
			all = append(all, aggregate{
				destination: d, table: table, id: id, fragile: r.plan.Load.Poison && isLast, emits: emits,
			})
		}
	}
	return all
}

// refusedType is the type of events that the broker refuses until an operator repairs it. Nothing
// else about such an event is invalid.
const refusedType = "refused"

// newEvent returns an event with a payload that shows any changed byte.
func (r *run) newEvent(random *rand.Rand, a aggregate) checker.Event {
	id := uuid.Must(uuid.NewV7()).String()
	if a.table != "" {
		id = r.twins.next(a.table)
	}
	plain := fmt.Sprintf(r.shape.payload(), id)
	e := checker.Event{
		ID: id, Table: a.table, AggregateType: a.destination.aggregateType, AggregateID: a.id,
		Destination: a.destination.Name, Emitted: a.emits,
		Type:    fmt.Sprintf("type.%d", random.IntN(5)),
		Payload: plain,
	}
	if r.shape.unordered { // each event is its own group
		e.AggregateID = id
	}
	switch random.IntN(40) {
	case 0:
		e.Payload = r.shape.padded(e.Payload, 5_000+random.IntN(60_000))
	case 1:
		if r.stores(a.destination) && !a.emits {
			e.Payload = r.shape.padded(e.Payload, a.destination.limit)
		}
	}
	if !a.fragile || random.IntN(8) > 0 {
		return e
	}
	e.Poison = true
	switch random.IntN(3) {
	case 0:
		if !r.stores(a.destination) {
			// jsonb keeps one padding of two
			e.Payload = r.shape.padded(plain, a.destination.limit)
			return e
		}
	case 1:
		if r.shape.isTyped() && r.mayWriteRefused(a.destination) {
			e.Type, e.Repairable = refusedType, true
			return e
		}
	}
	// valid in JSON and UTF-8, but not in a message
	e.Payload = strings.Replace(e.Payload, "☃", "\uFFFE", 1)
	return e
}

// refusalTakes bounds the time in which a relay proves the refusal of an event while it sends no
// other event to the destination: five times RELAY_RETRY_MAX, and the last backoff.
const refusalTakes = 3 * time.Second

// refusedAtMost leaves room for the refused events of faults. A relay parks five events of a
// destination that accepts none, and an operator may redrive all of them when no other is left.
const refusedAtMost = 3

// mayWriteRefused bounds the refused events of an aggregate. A relay proves their refusals one
// after the other if the aggregate has fallen far behind all others, and half of the time to settle
// has to suffice for it.
func (r *run) mayWriteRefused(d *destination) bool {
	return d.refused.Add(1) <= min(refusedAtMost, max(1, int32(r.options.Settle/refusalTakes/2)))
}

// payload returns the form of a payload with the id of its event. In a column of jsonb it is the
// text that Postgres prints.
func (s *shape) payload() string {
	if s.jsonb {
		return `{"a": [1.0, 100], "b": "ü ☃ 𝄞", "id": "%s"}`
	}
	return `{"b" :  1, "id":"%s", "a":[1.0, 1e2],"b":"\u00fc ü ☃ 𝄞"}`
}

// padded adds n characters to a payload.
func (s *shape) padded(payload string, n int) string {
	separator, colon := ",", ":"
	if s.jsonb {
		separator, colon = ", ", ": "
	}
	return strings.TrimSuffix(payload, "}") + separator + `"padding"` + colon + `"` + strings.Repeat("x", n) + `"}`
}
