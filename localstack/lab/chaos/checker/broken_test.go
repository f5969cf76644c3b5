package checker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// brokenHistory changes an intact history so that it breaks a rule.
type brokenHistory struct {
	rule   checker.Rule
	change func(*checker.History)
}

var brokenHistories = map[string]brokenHistory{
	"lost": {checker.Lost, func(h *checker.History) { h.Receipts = h.Receipts[1:] }},
	"lost behind a dead letter": {checker.Lost, func(h *checker.History) {
		poison(h, 1)
		h.Receipts = slices.Delete(h.Receipts, 1, 2)
	}},
	"waits behind no dead letter": {checker.Lost, func(h *checker.History) {
		h.Receipts = slices.Delete(h.Receipts, 2, 3)
		h.Rows[2].Waits = true
	}},
	"waits behind a discarded one": {checker.Lost, func(h *checker.History) {
		poison(h, 1)
		discard(h, 2*second)
		h.Receipts = slices.Delete(h.Receipts, 1, 2)
		h.Rows[2].Waits = true
	}},
	"waits before the dead letter": {checker.Lost, func(h *checker.History) {
		poison(h, 2)
		h.Receipts = slices.Delete(h.Receipts, 1, 2)
		h.Rows[1].Waits = true
	}},
	"never written": {checker.Phantom, func(h *checker.History) { h.Receipts[0].EventID = "unknown" }},
	"rolled back": {checker.Phantom, func(h *checker.History) {
		h.Rows = h.Rows[1:]
		h.Events[0].Outcome = checker.RolledBack
	}},
	"parked and never written": {checker.Phantom, func(h *checker.History) {
		h.DeadLetters = []checker.DeadLetter{{EventID: "unknown", Changes: []checker.Change{{State: "parked"}}}}
	}},
	"another body":             {checker.Changed, func(h *checker.History) { h.Receipts[0].Body = `{"n": 1}` }},
	"another sequence":         {checker.Changed, func(h *checker.History) { h.Receipts[0].Sequence = "7" }},
	"emitted, with a sequence": {checker.Changed, func(h *checker.History) { h.Events[0].Emitted = true }},
	"parked where rows wait": {checker.Parked, func(h *checker.History) {
		h.Destinations[0].RowsWait = true
		poison(h, 1)
		park(h, 2)
		h.DeadLetters[1].Changes[0].Code = "BlockedGroup"
	}},
	"another type": {checker.Changed, func(h *checker.History) { h.Receipts[0].EventType = "other" }},
	"a type where the table has none": {checker.Changed, func(h *checker.History) {
		h.Absent = []string{checker.EventType}
	}},
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
	"parked ahead of poison although its row is in the table": {checker.Parked, func(h *checker.History) {
		h.Faults = []checker.Fault{{Kind: "table swapped", Strands: true, To: second}}
		parkedBehindLater(h)
	}},
	"parked beside poison": {checker.Parked, func(h *checker.History) { poison(h, 3); park(h, 4) }},
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
	"follows the redrive of a later row that was parked before a table joined": {
		checker.Reordered,
		func(h *checker.History) {
			followRedrive(h)
			h.Faults = []checker.Fault{{Kind: "table joins", Skips: true, From: 5 * second, To: 6 * second}}
		},
	},
	"late although its row is in the table": {checker.Reordered, func(h *checker.History) {
		h.Faults = []checker.Fault{{Kind: "table swapped", Strands: true, To: second}}
		h.Receipts[0], h.Receipts[1] = h.Receipts[1], h.Receipts[0]
		h.Receipts[0].At, h.Receipts[1].At = 4*second, 5*second
	}},
	"overtook a parked one whose row is in the table": {checker.Reordered, func(h *checker.History) {
		h.Faults = []checker.Fault{{Kind: "table swapped", Strands: true, To: second}}
		poison(h, 1)
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
	"not replayed, and waiting for another destination": {checker.Replayed, func(h *checker.History) {
		replay(h, 5)
		h.Receipts, h.Replays[0].Sent = h.Receipts[:len(h.Receipts)-1], 0
		h.Replays[0].Waiting = map[string][]string{h.Events[5].ID: {fifo}}
	}},
	"accepted under the name of another table": {checker.Changed, func(h *checker.History) {
		moved(h, 0)
		h.Receipts[0].Table = "tenant_1.outbox"
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
}

func TestEveryBrokenRuleIsReported(t *testing.T) {
	t.Parallel()
	for name, c := range brokenHistories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := intact()
			c.change(h)
			report := check(t, h)
			if report.Count(c.rule) == 0 {
				t.Errorf("found %v, not %q", report.Violations, c.rule)
			}
		})
	}
}
