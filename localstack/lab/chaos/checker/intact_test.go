package checker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// intactHistories change an intact history without breaking a rule.
var intactHistories = map[string]func(*checker.History){
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
	"emitted, without a sequence": func(h *checker.History) {
		h.Events[0].Emitted, h.Receipts[0].Sequence = true, ""
	},
	"accepted, and parked where rows wait when it comes again": func(h *checker.History) {
		h.Destinations[0].RowsWait = true
		poison(h, 1)
		park(h, 2)
		h.DeadLetters = append(h.DeadLetters, deadLetter(h.Events[0]))
		h.DeadLetters[2].Changes[0] = checker.Change{At: 3 * second, State: "parked", Code: "BlockedGroup"}
	},
	"emitted, and parked where rows wait": func(h *checker.History) {
		h.Destinations[0].RowsWait, h.Events[2].Emitted = true, true
		poison(h, 1)
		park(h, 2)
		h.DeadLetters[1].Changes[0].Code = "BlockedGroup"
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
	"stranded in the log, and parked behind the events of the new table": func(h *checker.History) {
		h.Faults = []checker.Fault{{Kind: "table swapped", Strands: true, To: second}}
		h.Rows[1].Removed = true
		poison(h, 1)
	},
	"stranded in the log, and parked behind a poison message of the new table": func(h *checker.History) {
		h.Faults = []checker.Fault{{Kind: "table swapped", Strands: true, To: second}}
		h.Rows[0].Removed = true
		parkedBehindLater(h)
	},
	"waits for its aggregate, and no part of a replay": func(h *checker.History) {
		h.Rows[3].Waits = true
		replay(h, 3, 4)
		h.Receipts = slices.DeleteFunc(h.Receipts, func(r checker.Receipt) bool {
			return r.Replay != "" && r.EventID == h.Events[3].ID
		})
		h.Replays[0].Sent = 1
	},
	"accepted long before a replay, and waiting for a deferral at its request": func(h *checker.History) {
		replay(h, 5)
		h.Receipts, h.Replays[0].Sent = h.Receipts[:len(h.Receipts)-1], 0
		h.Replays[0].Waiting = map[string][]string{h.Events[5].ID: {standard}}
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
	"waits behind a dead letter": func(h *checker.History) {
		poison(h, 1)
		h.Receipts = slices.Delete(h.Receipts, 1, 2)
		h.Rows[2].Waits = true
	},
	"came with a table, and waits behind the dead letter of a later row": func(h *checker.History) {
		poison(h, 2)
		h.Receipts = slices.Delete(h.Receipts, 1, 2)
		h.Rows[1].Waits = true
		h.Faults = []checker.Fault{{Kind: "table joins", Skips: true, From: 0, To: 4 * second}}
	},
	"came with a table, and follows the redrive of a later row": func(h *checker.History) {
		followRedrive(h)
		h.Faults = []checker.Fault{{Kind: "table joins", Skips: true, To: 4 * second}}
	},
	"the same aggregate of two tables, in another order": func(h *checker.History) {
		moved(h, 0)
		first := h.Receipts[0]
		h.Receipts = slices.Insert(slices.Delete(h.Receipts, 0, 1), 1, first)
	},
	"parked, and the same aggregate of another table is accepted": func(h *checker.History) {
		moved(h, 0)
		poison(h, 0)
	},
	"overtaken before a table joined, and parked later": func(h *checker.History) {
		poison(h, 0)
		h.DeadLetters[0].Changes[0].At = 5 * second
		h.Faults = []checker.Fault{{Kind: "table joins", Skips: true, From: 0, To: 4 * second}}
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
}

func TestIntactHistoriesBreakNoRule(t *testing.T) {
	t.Parallel()
	for name, change := range intactHistories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := intact()
			change(h)
			if got := check(t, h).Violations; len(got) > 0 {
				t.Errorf("%v", got)
			}
		})
	}
}
