package checker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func poison(h *checker.History, i int) {
	h.Events[i].Poison = true
	park(h, i)
}

func TestIntactHistoriesBreakNoRule(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*checker.History){
		"no change": func(*checker.History) {},
		"rolled back and not received": func(h *checker.History) {
			h.Events = append(h.Events, checker.Event{ID: "x", Outcome: checker.RolledBack})
		},
		"a commit without an answer that succeeded": func(h *checker.History) { h.Events[0].Outcome = checker.Unknown },
		"a commit without an answer that failed": func(h *checker.History) {
			h.Events = append(h.Events, checker.Event{ID: "x", Outcome: checker.Unknown})
		},
		"another order on a standard destination": func(h *checker.History) {
			h.Receipts[3], h.Receipts[4] = h.Receipts[4], h.Receipts[3]
		},
		"poison that is parked":                 func(h *checker.History) { poison(h, 5) },
		"an aggregate that is parked behind it": func(h *checker.History) { poison(h, 1); park(h, 2) },
		"received, and parked when it arrived again": func(h *checker.History) {
			poison(h, 1)
			park(h, 2)
			h.DeadLetters = append(h.DeadLetters, deadLetter(h.Events[0]))
		},
		"one late request of a thawed relay": func(h *checker.History) {
			h.Faults = append(h.Faults, checker.Fault{
				Kind: "freeze", Repeats: true, Deposed: "relay-1",
				DeposedAt: 2 * second, From: second, To: 2 * second, Rejoined: 9 * second,
			})
		},
		"a thawed relay acquired the slot again, and its log was read late": func(h *checker.History) {
			h.Faults = []checker.Fault{{
				Kind: "freeze", Repeats: true, Deposed: "relay-1", DeposedAt: 19 * second,
				From: 10 * second, To: 19 * second, Rejoined: 20*second + time.Millisecond,
			}}
			for range 11 {
				again(h, 3, 20*second)
			}
		},
		"repaired, redriven and accepted":    func(h *checker.History) { redrive(h, 5); h.Operator.RedroveAll = true },
		"the last of an aggregate, redriven": func(h *checker.History) { redrive(h, 2) },
		"streamed again while its dead letter waited": func(h *checker.History) {
			redrive(h, 5)
			again(h, len(h.Receipts)-1, 12*second+second/2)
		},
		"discarded by the operator":          func(h *checker.History) { poison(h, 5); discard(h, 9*second) },
		"continued behind a discarded event": func(h *checker.History) { poison(h, 1); discard(h, 2*second) },
		"redriven, and never accepted": func(h *checker.History) {
			poison(h, 1)
			park(h, 2)
			h.Operator.RedroveAll = true
		},
		"parked while its destination was unavailable": func(h *checker.History) { unavailable(h, 5) },
		"parked as unavailable before the credentials fail": func(h *checker.History) {
			unavailable(h, 5)
			h.Faults = []checker.Fault{{Kind: "credentials", Identity: true, From: 3 * second, To: 10 * second}}
		},
		"parked as unavailable after the credentials work": func(h *checker.History) {
			unavailable(h, 5)
			h.Faults = []checker.Fault{{Kind: "credentials", Identity: true, From: 0, To: second}}
		},
		"parked as unavailable by a fault besides the credentials": func(h *checker.History) {
			unavailable(h, 5)
			h.Faults = []checker.Fault{
				{Kind: "credentials", Identity: true, From: 0, To: 10 * second},
				{Kind: "hang", From: second, To: 2 * second},
			}
		},
		"redriven after the others, not in order": func(h *checker.History) {
			redrive(h, 0)
			h.DeadLetters[0].Blocks = false
		},
		"reordered by a request that failed in part": func(h *checker.History) {
			h.Destinations[0].GroupBatches = true
			h.Faults = []checker.Fault{{Kind: "entries failed", Partial: true, To: second}}
			h.Receipts[0], h.Receipts[1] = h.Receipts[1], h.Receipts[0]
		},
		"omitted by the stream, which continued": func(h *checker.History) {
			h.Faults = []checker.Fault{{Kind: "publication recreated", Skips: true, To: second}}
			h.Receipts[0], h.Receipts[1] = h.Receipts[1], h.Receipts[0]
			h.Receipts[0].At, h.Receipts[1].At = second, 3*second
		},
		"stranded in the log by a swapped table": func(h *checker.History) {
			h.Faults = []checker.Fault{{Kind: "table swapped", Strands: true, To: second}}
			h.Rows[0].Removed = true
			h.Receipts[0], h.Receipts[1] = h.Receipts[1], h.Receipts[0]
			h.Receipts[0].At, h.Receipts[1].At = 4*second, 5*second
		},
		"replayed": func(h *checker.History) { replay(h, 0, 1, 2, 5) },
		"another order on a standard destination, replayed": func(h *checker.History) { replay(h, 4, 3) },
		"redriven, then replayed": func(h *checker.History) {
			redrive(h, 5)
			replay(h, 5)
			replayed(h).At = 14 * second
		},
		"discarded, then repaired and replayed": func(h *checker.History) {
			poison(h, 5)
			discard(h, 9*second)
			replay(h, 5)
		},
		"parked when its replay reached it": func(h *checker.History) {
			replay(h, 4, 5)
			poison(h, 5)
			h.Receipts, h.Replays[0].Sent = h.Receipts[:len(h.Receipts)-1], 1
		},
		"parked behind another one when its replay reached it": func(h *checker.History) {
			poison(h, 1)
			park(h, 2)
			h.DeadLetters = append(h.DeadLetters, deadLetter(h.Events[0]))
			replay(h, 3, 0)
			h.Receipts, h.Replays[0].Sent = h.Receipts[:len(h.Receipts)-1], 1
		},
		"received, parked behind poison when repeated, and redriven in vain": func(h *checker.History) {
			poison(h, 1)
			park(h, 2)
			h.DeadLetters = append(h.DeadLetters, deadLetter(h.Events[0]))
			h.Operator.RedroveAll = true
		},
		"removed when its replay reached it": func(h *checker.History) {
			replay(h, 0, 1)
			h.Receipts, h.Replays[0].Sent, h.Rows[1].Removed = h.Receipts[:len(h.Receipts)-1], 1, true
		},
		"a page of a replay repeated after a kill": func(h *checker.History) {
			replay(h, 0, 1)
			h.Faults = []checker.Fault{{Kind: "kill", Repeats: true, From: 20 * second, To: 21 * second}}
			again(h, len(h.Receipts)-2, 22*second)
			again(h, len(h.Receipts)-2, 23*second)
		},
		"accepted without acknowledgement, parked, redriven": func(h *checker.History) {
			r := h.Receipts[5]
			unavailable(h, 5)
			h.Receipts = append(h.Receipts, r)
			changeState(h, "redriving", 8*second)
			again(h, 5, 9*second)
			changeState(h, "redriven", 10*second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := intact()
			change(h)
			if got := checker.Check(h).Violations; len(got) > 0 {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestEveryBrokenRuleIsReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule   checker.Rule
		change func(*checker.History)
	}{
		"lost":          {checker.Lost, func(h *checker.History) { h.Receipts = h.Receipts[1:] }},
		"never written": {checker.Phantom, func(h *checker.History) { h.Receipts[0].EventID = "unknown" }},
		"rolled back": {checker.Phantom, func(h *checker.History) {
			h.Rows = h.Rows[1:]
			h.Events[0].Outcome = checker.RolledBack
		}},
		"parked and never written": {checker.Phantom, func(h *checker.History) {
			h.DeadLetters = []checker.DeadLetter{{EventID: "unknown"}}
		}},
		"another body":      {checker.Changed, func(h *checker.History) { h.Receipts[0].Body = `{"n": 1}` }},
		"another sequence":  {checker.Changed, func(h *checker.History) { h.Receipts[0].Sequence = "7" }},
		"another type":      {checker.Changed, func(h *checker.History) { h.Receipts[0].EventType = "other" }},
		"another aggregate": {checker.Changed, func(h *checker.History) { h.Receipts[0].AggregateID = "other" }},
		"another deduplication id": {checker.Changed, func(h *checker.History) {
			h.Receipts[0].DeduplicationID = "other"
		}},
		"parked with another body": {checker.Changed, func(h *checker.History) {
			poison(h, 1)
			park(h, 2)
			h.DeadLetters[0].Body = ""
		}},
		"another destination": {checker.Misrouted, func(h *checker.History) {
			h.Receipts[0].Destination = standard
		}},
		"another order": {checker.Reordered, func(h *checker.History) {
			h.Receipts[0], h.Receipts[1] = h.Receipts[1], h.Receipts[0]
		}},
		"overtook a parked event": {checker.Reordered, func(h *checker.History) { poison(h, 1) }},
		"parked without a reason": {checker.Parked, func(h *checker.History) { park(h, 2) }},
		"parked ahead of poison":  {checker.Parked, func(h *checker.History) { park(h, 0); poison(h, 1); park(h, 2) }},
		"parked beside poison":    {checker.Parked, func(h *checker.History) { poison(h, 3); park(h, 4) }},
		"received and parked": {checker.Parked, func(h *checker.History) {
			r := h.Receipts[2]
			park(h, 2)
			h.Receipts = append(h.Receipts, r)
		}},
		"redriven and not accepted": {checker.Lost, func(h *checker.History) {
			redrive(h, 5)
			h.Receipts = h.Receipts[:5]
		}},
		"redriven, and accepted only before": {checker.Lost, func(h *checker.History) {
			redrive(h, 5)
			h.Receipts[5].At = second
		}},
		"accepted before it was repaired": {checker.Broken, func(h *checker.History) {
			redrive(h, 5)
			h.Operator.RepairedAt = 20 * second
		}},
		"redriven behind the next": {checker.Reordered, func(h *checker.History) { redrive(h, 0) }},
		"overtook one that is discarded later": {checker.Reordered, func(h *checker.History) {
			poison(h, 1)
			discard(h, 9*second)
		}},
		"overtaken long after the stream omitted events": {checker.Reordered, func(h *checker.History) {
			h.Faults = []checker.Fault{{Kind: "publication recreated", Skips: true, To: second}}
			h.Receipts[0], h.Receipts[1] = h.Receipts[1], h.Receipts[0]
			h.Receipts[0].At, h.Receipts[1].At = 4*second, 5*second
		}},
		"late although its row is in the table": {checker.Reordered, func(h *checker.History) {
			h.Faults = []checker.Fault{{Kind: "table swapped", Strands: true, To: second}}
			h.Receipts[0], h.Receipts[1] = h.Receipts[1], h.Receipts[0]
			h.Receipts[0].At, h.Receipts[1].At = 4*second, 5*second
		}},
		"reordered in a request that did not fail": {checker.Reordered, func(h *checker.History) {
			h.Destinations[0].GroupBatches = true
			h.Receipts[0], h.Receipts[1] = h.Receipts[1], h.Receipts[0]
		}},
		"stays parked after all was redriven": {checker.Stuck, func(h *checker.History) {
			unavailable(h, 5)
			h.Operator.RedroveAll = true
		}},
		"discarded without the operator": {checker.Discarded, func(h *checker.History) {
			poison(h, 5)
			discard(h, 9*second)
			h.Operator.Discarded = 0
		}},
		"counted as discarded by the operator": {checker.Discarded, func(h *checker.History) {
			poison(h, 5)
			h.Operator.Discarded = 1
		}},
		"parked as unavailable without the setting": {checker.Parked, func(h *checker.History) {
			unavailable(h, 5)
			h.Destinations[1].ParkAfter = 0
		}},
		"parked because of credentials": {checker.Parked, func(h *checker.History) {
			unavailable(h, 5)
			h.Faults = []checker.Fault{{Kind: "credentials", Identity: true, From: second, To: 10 * second}}
		}},
		"parked too soon after failing credentials": {checker.Parked, func(h *checker.History) {
			unavailable(h, 5)
			h.Faults = []checker.Fault{{Kind: "credentials", Identity: true, From: 0, To: 3 * second}}
		}},
		"parked as unavailable too soon": {checker.Parked, func(h *checker.History) {
			unavailable(h, 5)
			h.DeadLetters[0].Changes[0].At = second
		}},
		"parked long after its blocker was discarded": {checker.Parked, func(h *checker.History) {
			poison(h, 1)
			discard(h, 2*second)
			park(h, 2)
			h.DeadLetters[1].Changes[0].At = 60 * second
		}},
		"replayed without a request": {checker.Replayed, func(h *checker.History) {
			replay(h, 0)
			h.Replays = nil
		}},
		"replayed and not selected": {checker.Replayed, func(h *checker.History) {
			replay(h, 0)
			h.Replays[0].Selected = nil
		}},
		"replayed before the request": {checker.Replayed, func(h *checker.History) {
			replay(h, 0)
			replayed(h).At = 9 * second
		}},
		"replayed before it was delivered": {checker.Replayed, func(h *checker.History) {
			replay(h, 5)
			h.Receipts[5].At = 12 * second
		}},
		"replayed while it was parked": {checker.Replayed, func(h *checker.History) {
			poison(h, 5)
			replay(h, 5)
		}},
		"replayed in another order": {checker.Replayed, func(h *checker.History) { replay(h, 1, 0) }},
		"replayed only in part": {checker.Replayed, func(h *checker.History) {
			replay(h, 0, 1)
			h.Receipts = h.Receipts[:7]
			h.Replays[0].Sent = 1
		}},
		"counted as replayed": {checker.Replayed, func(h *checker.History) {
			replay(h, 0)
			h.Replays[0].Sent = 2
		}},
		"a replay that does not end": {checker.Replayed, func(h *checker.History) {
			replay(h, 0)
			h.Replays[0].State = "running"
		}},
		"replayed as if for the first time": {checker.Changed, func(h *checker.History) {
			replay(h, 0)
			replayed(h).DeduplicationID = h.Events[0].ID
		}},
		"replayed with the id of another replay": {checker.Changed, func(h *checker.History) {
			replay(h, 0)
			replayed(h).DeduplicationID += "1"
		}},
		"arrived only in a replay": {checker.Lost, func(h *checker.History) {
			replay(h, 0)
			h.Receipts = h.Receipts[1:]
		}},
		"twice in a replay without a reason": {checker.Unexplained, func(h *checker.History) {
			replay(h, 0)
			again(h, len(h.Receipts)-1, 20*second)
		}},
		"twice, and a replay does not explain it": {checker.Unexplained, func(h *checker.History) {
			replay(h, 0)
			again(h, 0, 20*second)
		}},
		"twice without a reason": {checker.Unexplained, func(h *checker.History) {
			again(h, 0, 20*second)
		}},
		"twice long after a kill": {checker.Unexplained, func(h *checker.History) {
			h.Faults = []checker.Fault{{Kind: "kill", Repeats: true, From: 0, To: second}}
			again(h, 5, 20*second)
		}},
		"twice beside a clean stop": {checker.Unexplained, func(h *checker.History) {
			h.Faults = []checker.Fault{{Kind: "stop", From: 10 * second, To: 11 * second}}
			again(h, 0, 20*second)
		}},
		"poison that was accepted": {checker.Broken, func(h *checker.History) { h.Events[5].Poison = true }},
		"committed and not in the table": {checker.Broken, func(h *checker.History) {
			h.Events = append(h.Events, checker.Event{ID: "x", Outcome: checker.Committed})
		}},
		"rolled back and in the table": {checker.Broken, func(h *checker.History) {
			h.Events[0].Outcome = checker.RolledBack
		}},
		"in the table and not written": {checker.Broken, func(h *checker.History) {
			h.Rows = append(h.Rows, checker.Row{ID: "x"})
		}},
		"a relay that did not stop": {checker.Broken, func(h *checker.History) {
			h.Problems = []string{"relay-1 did not stop"}
		}},
		"a thawed relay that continued": {checker.Fenced, func(h *checker.History) {
			h.Faults = []checker.Fault{{
				Kind: "freeze", Repeats: true, Deposed: "relay-1", DeposedAt: 19 * second,
				From: 10 * second, To: 19 * second, Rejoined: 30 * second,
			}}
			for i := range 11 {
				again(h, 3, 20*second+time.Duration(i))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := intact()
			c.change(h)
			report := checker.Check(h)
			if report.Count(c.rule) == 0 {
				t.Errorf("found %v, not %q", report.Violations, c.rule)
			}
		})
	}
}

func TestLastFaultExplainsADuplicate(t *testing.T) {
	t.Parallel()
	h := intact()
	h.Faults = []checker.Fault{
		{Kind: "kill", Repeats: true, From: 10 * second, To: 11 * second},
		{Kind: "broker: throttled", From: 12 * second, To: 13 * second},
		{Kind: "session ended", Repeats: true, Noticed: true, From: 13 * second, To: 13 * second},
		{Kind: "freeze", Repeats: true, From: 30 * second, To: 31 * second},
		{Kind: "session ended", Repeats: true, Noticed: true, From: 40 * second, To: 40 * second},
	}
	again(h, 0, 20*second)
	again(h, 1, 35*second)
	again(h, 1, 50*second)
	replay(h, 2)
	report := checker.Check(h)
	if diff := cmp.Diff(map[string]int{"kill": 1, "freeze": 1, "session ended": 1, "replayed": 1},
		report.Duplicates); diff != "" {
		t.Errorf("duplicates (-want +got):\n%s", diff)
	}
	if len(report.Violations) > 0 {
		t.Errorf("%v", report.Violations)
	}
}
