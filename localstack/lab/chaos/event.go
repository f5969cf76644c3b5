package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/google/uuid"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// aggregate is what events are about. Its type says where they go.
type aggregate struct {
	destination *destination
	id          string
	fragile     bool // some of its events are poison
}

func (a aggregate) key() string { return a.destination.aggregateType + "/" + a.id }

// aggregates returns those of every destination. The last one of each is fragile where there is poison.
func (r *run) aggregates() []aggregate {
	var all []aggregate
	for i := range r.destinations {
		d := &r.destinations[i]
		for n := range r.plan.Load.Aggregates {
			id := fmt.Sprintf("%d", n)
			if n%5 == 4 {
				id = fmt.Sprintf("№ %d/ü", n) // has to be encoded in a message group
			}
			all = append(all, aggregate{d, id, r.plan.Load.Poison && n == r.plan.Load.Aggregates-1})
		}
	}
	return all
}

// refusedType is the type of events that the broker refuses until an operator mends that, though nothing is to be seen.
const refusedType = "refused"

// newEvent makes an event with a payload that shows whether a byte was changed.
func (r *run) newEvent(random *rand.Rand, a aggregate) checker.Event {
	id := uuid.Must(uuid.NewV7()).String()
	e := checker.Event{
		ID: id, AggregateType: a.destination.aggregateType, AggregateID: a.id, Destination: a.destination.Name,
		Type:    fmt.Sprintf("type.%d", random.IntN(5)),
		Payload: fmt.Sprintf(`{"b" :  1, "id":"%s", "a":[1.0, 1e2],"b":"\u00fc ü ☃ 𝄞"}`, id),
	}
	if random.IntN(40) == 0 {
		e.Payload = padded(e.Payload, 5_000+random.IntN(60_000))
	}
	if !a.fragile || random.IntN(8) > 0 {
		return e
	}
	e.Poison = true
	switch random.IntN(3) {
	case 0:
		e.Payload = padded(e.Payload, a.destination.limit)
	case 1:
		e.Payload = strings.Replace(e.Payload, "☃", "\uFFFE", 1) // valid in JSON and in UTF-8, and in no message
	default:
		e.Type, e.Mendable = refusedType, true
	}
	return e
}

// padded adds so many characters to a JSON object.
func padded(payload string, n int) string {
	return strings.TrimSuffix(payload, "}") + `,"padding":"` + strings.Repeat("x", n) + `"}`
}
