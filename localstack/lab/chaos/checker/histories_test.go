package checker_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

const (
	fifo     = "events.fifo"
	standard = "events"
	second   = time.Second
)

// intact returns a history of three events of one aggregate for each destination, without any
// violation.
func intact() *checker.History {
	h := &checker.History{Destinations: []checker.Destination{
		{Name: fifo, FIFO: true, ParksAggregate: true},
		{Name: standard},
	}}
	for i, destination := range []string{fifo, standard} {
		for n := range 3 {
			id := fmt.Sprintf("%s-%d", destination, n+1)
			seq := int64(i*3 + n + 1)
			e := checker.Event{
				ID: id, Destination: destination, AggregateType: "order", AggregateID: "1", Type: "t",
				Payload: `{"n":1}`,
				Outcome: checker.Committed,
			}
			h.Events = append(h.Events, e)
			h.Rows = append(h.Rows, checker.Row{ID: id, Seq: seq, Payload: e.Payload})
			h.Receipts = append(h.Receipts, checker.Receipt{
				Destination: destination, At: time.Duration(seq) * second, Relay: "relay-1", EventID: id,
				EventType:     e.Type,
				AggregateType: e.AggregateType, AggregateID: e.AggregateID, Sequence: fmt.Sprint(seq),
				DeduplicationID: id, Body: e.Payload,
			})
		}
	}
	return h
}

// again repeats the receipt at index i.
func again(h *checker.History, i int, at time.Duration) {
	r := h.Receipts[i]
	r.At = at
	h.Receipts = append(h.Receipts, r)
}

// deadLetter returns a dead letter of an event, which blocks later events at a FIFO destination.
func deadLetter(e checker.Event) checker.DeadLetter {
	return checker.DeadLetter{
		EventID: e.ID, Destination: e.Destination, Body: e.Payload, Blocks: e.Destination == fifo,
		Changes: []checker.Change{{At: second, State: "parked", Code: "Refused"}},
	}
}

// changeState changes the state of the first dead letter.
func changeState(h *checker.History, state string, at time.Duration) {
	d := &h.DeadLetters[0]
	d.Changes = append(d.Changes, checker.Change{At: at, State: state, Code: "Refused", Redrives: 1})
}

// redrive makes the event at index i of the first aggregate refused, repaired, redriven and
// accepted.
func redrive(h *checker.History, i int) {
	r := h.Receipts[i]
	poison(h, i)
	h.Events[i].Repairable, h.Operator.RepairedAt = true, 10*second
	changeState(h, "redriving", 11*second)
	r.At, r.DeduplicationID = 12*second, r.EventID+"#r1"
	h.Receipts = append(h.Receipts, r)
	changeState(h, "redriven", 13*second)
}

// followRedrive makes the second event of the first aggregate arrive after the redrive of the
// third.
func followRedrive(h *checker.History) {
	redrive(h, 2)
	late := h.Receipts[1]
	late.At = 14 * second
	h.Receipts = append(slices.Delete(h.Receipts, 1, 2), late)
}

// discard makes the operator discard the first dead letter.
func discard(h *checker.History, at time.Duration) {
	changeState(h, "discarded", at)
	h.Operator.Discarded = 1
}

// unavailable parks the event at index i because its destination accepted nothing for two seconds.
func unavailable(h *checker.History, i int) {
	for n := range h.Destinations {
		h.Destinations[n].ParkAfter = 2 * second
	}
	for n := range h.Receipts {
		h.Receipts[n].At = time.Duration(n) * time.Millisecond
	}
	park(h, i)
	h.DeadLetters[0].Changes[0] = checker.Change{At: 4 * second, State: "parked", Code: "DestinationUnavailable"}
}

// park parks the event at index i and removes its receipt.
func park(h *checker.History, i int) {
	e := h.Events[i]
	h.DeadLetters = append(h.DeadLetters, deadLetter(e))
	for n, r := range h.Receipts {
		if r.EventID == e.ID {
			h.Receipts = append(h.Receipts[:n], h.Receipts[n+1:]...)
			return
		}
	}
}

// replay repeats the events at these indexes in this order, as a replay requested after ten
// seconds.
func replay(h *checker.History, of ...int) {
	requested := checker.Replay{ID: "7", At: 10 * second, Sent: len(of), State: "done"}
	for n, i := range of {
		e := h.Events[i]
		requested.Selected = append(requested.Selected, e.ID)
		h.Receipts = append(h.Receipts, checker.Receipt{
			Destination: e.Destination, At: time.Duration(11+n) * second, Relay: "relay-1", EventID: e.ID,
			EventType:     e.Type,
			AggregateType: e.AggregateType, AggregateID: e.AggregateID, Sequence: fmt.Sprint(h.Rows[i].Seq),
			DeduplicationID: e.ID + "#p7",
			Replay:          "7", Body: e.Payload,
		})
	}
	h.Replays = append(h.Replays, requested)
}

// replayed returns the last receipt of a replay.
func replayed(h *checker.History) *checker.Receipt { return &h.Receipts[len(h.Receipts)-1] }

// moved moves the event at index i to another table.
func moved(h *checker.History, i int) {
	const table = "tenant_0.outbox"
	h.Events[i].Table, h.Receipts[i].Table = table, table
}

func poison(h *checker.History, i int) {
	h.Events[i].Poison = true
	park(h, i)
}

// parkedBehindLater parks the first event of an aggregate behind its last one, which is poison.
func parkedBehindLater(h *checker.History) {
	poison(h, 2)
	park(h, 0)
	letter := &h.DeadLetters[len(h.DeadLetters)-1]
	letter.Changes = []checker.Change{{At: 2 * second, State: "parked", Code: "BlockedGroup"}}
}
