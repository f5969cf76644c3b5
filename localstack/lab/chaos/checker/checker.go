package checker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rule names a promise.
type Rule string

// The rules.
const (
	// a committed event was neither accepted nor parked, or was redriven and not accepted
	Lost        Rule = "lost"
	Phantom     Rule = "phantom"     // an uncommitted event was accepted or parked
	Changed     Rule = "changed"     // an event was accepted or parked with other content than written
	Misrouted   Rule = "misrouted"   // an event was accepted or parked at another destination
	Reordered   Rule = "reordered"   // an aggregate's first receipts at a FIFO destination are not in commit order
	Parked      Rule = "parked"      // an event was parked without a reason
	Replayed    Rule = "replayed"    // a replay sent other events than selected, or in another order
	Stuck       Rule = "stuck"       // an event is still parked after a redrive without any obstacle
	Discarded   Rule = "discarded"   // an event was discarded without the operator
	Unexplained Rule = "unexplained" // an event arrived twice without a fault in between
	Fenced      Rule = "fenced"      // a relay published while another one held the slot
	// another problem: a writer's record and the table differ, or a relay did not stop
	Broken Rule = "broken"
)

// Rules are all rules.
var Rules = []Rule{
	Lost, Phantom, Changed, Misrouted, Reordered, Parked, Replayed, Stuck, Discarded, Unexplained, Fenced, Broken,
}

// Violation is one broken promise.
type Violation struct {
	Rule    Rule   `json:"rule"`
	EventID string `json:"event_id,omitempty"`
	Detail  string `json:"detail"`
}

func (v Violation) String() string {
	if v.EventID == "" {
		return fmt.Sprintf("%s: %s", v.Rule, v.Detail)
	}
	return fmt.Sprintf("%s: event %s %s", v.Rule, v.EventID, v.Detail)
}

// Report is the result of the checker.
type Report struct {
	Committed  int
	Parked     int            // dead letters in any state
	Redriven   int            // number of these
	Discarded  int            // number of these
	Duplicates map[string]int // by the kind of the fault that explains them
	Violations []Violation
}

// Count returns how often a rule was broken.
func (r *Report) Count(rule Rule) int {
	n := 0
	for _, v := range r.Violations {
		if v.Rule == rule {
			n++
		}
	}
	return n
}

// inFlight is the maximum duration of a request. A destination may accept an event that much later
// than the relay sent it.
const inFlight = 2 * time.Second

// Check checks a history against the rules that it promises to keep.
func Check(h *History) *Report {
	c := newCheck(h)
	for _, problem := range h.Problems {
		c.violated(Broken, "", "%s", problem)
	}
	c.records()
	for i := range h.Receipts {
		c.receipt(&h.Receipts[i])
	}
	for i := range h.DeadLetters {
		c.deadLetter(&h.DeadLetters[i])
	}
	c.lost()
	c.redriven()
	c.order()
	c.overtaken()
	c.parked()
	c.stuck()
	c.discarded()
	c.replays()
	c.duplicates()
	c.fenced()
	return &c.report
}

// check is a history with indexes.
type check struct {
	*History
	report       Report
	destinations map[string]*Destination
	events       map[string]*Event
	rows         map[string]*Row
	receipts     map[string][]*Receipt    // by event, in order, without replays
	replayed     map[string]copies        // by replay
	deadLetters  map[string][]*DeadLetter // by event
	aggregates   map[aggregate][]*Event   // events in the table, in order of seq
}

func newCheck(h *History) *check {
	c := &check{
		History: h, report: Report{Duplicates: map[string]int{}},
		destinations: map[string]*Destination{}, events: map[string]*Event{}, rows: map[string]*Row{},
		receipts: map[string][]*Receipt{}, replayed: map[string]copies{}, deadLetters: map[string][]*DeadLetter{},
		aggregates: map[aggregate][]*Event{},
	}
	for i := range h.Destinations {
		c.destinations[h.Destinations[i].Name] = &h.Destinations[i]
	}
	for i := range h.Events {
		c.events[h.Events[i].ID] = &h.Events[i]
	}
	for i := range h.Rows {
		c.rows[h.Rows[i].ID] = &h.Rows[i]
		if e := c.events[h.Rows[i].ID]; e != nil {
			c.aggregates[e.aggregate()] = append(c.aggregates[e.aggregate()], e)
		}
	}
	c.report.Committed = len(h.Rows)
	return c
}

func (c *check) violated(rule Rule, eventID, format string, args ...any) {
	if len(c.Promises) > 0 && !slices.Contains(c.Promises, rule) {
		return
	}
	c.report.Violations = append(c.report.Violations, Violation{rule, eventID, fmt.Sprintf(format, args...)})
}

// records compares the writers' records with the table, which is authoritative.
func (c *check) records() {
	for i := range c.Events {
		e := &c.Events[i]
		row := c.rows[e.ID]
		switch {
		case row == nil && e.Outcome == Committed:
			c.violated(Broken, e.ID, "was committed and is not in the table")
		case row != nil && e.Outcome == RolledBack:
			c.violated(Broken, e.ID, "was rolled back and is in the table")
		case row != nil && row.Payload != e.Payload:
			c.violated(Broken, e.ID, "was written as %.80q and is in the table as %.80q", e.Payload, row.Payload)
		}
	}
	for id := range c.rows {
		if c.events[id] == nil {
			c.violated(Broken, id, "is in the table and no writer wrote it")
		}
	}
}

// receipt compares a receipt with the written event.
func (c *check) receipt(r *Receipt) {
	e, row := c.events[r.EventID], c.rows[r.EventID]
	if e == nil || row == nil {
		c.violated(Phantom, r.EventID, "was accepted and never committed: %.80q", r.Body)
		return
	}
	if r.Replay == "" {
		c.receipts[e.ID] = append(c.receipts[e.ID], r)
	} else {
		c.noteReplayed(r)
	}
	if r.Destination != e.Destination {
		c.violated(Misrouted, e.ID, "was accepted by %s, belongs to %s", r.Destination, e.Destination)
		return
	}
	if r.Body != e.Payload {
		c.violated(Changed, e.ID, "was written as %.80q and accepted as %.80q", e.Payload, r.Body)
	}
	for _, field := range [][3]string{
		{"outbox_table", e.Table, r.Table},
		{EventType, e.Type, r.EventType},
		{AggregateType, e.AggregateType, r.AggregateType},
		{AggregateID, e.AggregateID, r.AggregateID},
		{Sequence, e.sequence(row), r.Sequence},
	} {
		if slices.Contains(c.Absent, field[0]) {
			field[1] = ""
		}
		if field[1] != field[2] {
			c.violated(Changed, e.ID, "has %s %q and was accepted with %q", field[0], field[1], field[2])
		}
	}
	if c.destinations[r.Destination].FIFO && !r.isDeduplicatedAs(e.ID) {
		c.violated(Changed, e.ID, "was accepted with deduplication id %s and replay %q", r.DeduplicationID, r.Replay)
	}
}

// sequence returns the attribute that the messages of e have.
func (e *Event) sequence(row *Row) string {
	if e.Emitted {
		return ""
	}
	return strconv.FormatInt(row.Seq, 10)
}

// isDeduplicatedAs reports whether the deduplication id belongs to a delivery, a redrive or the
// replay of the event.
func (r *Receipt) isDeduplicatedAs(eventID string) bool {
	if r.Replay != "" {
		return r.DeduplicationID == eventID+"#p"+r.Replay
	}
	id, _, _ := strings.Cut(r.DeduplicationID, "#r")
	return id == eventID
}

func (c *check) deadLetter(d *DeadLetter) {
	e := c.events[d.EventID]
	if e == nil || c.rows[d.EventID] == nil {
		c.violated(Phantom, d.EventID, "was parked and never committed")
		return
	}
	c.deadLetters[e.ID] = append(c.deadLetters[e.ID], d)
	c.count(d)
	if d.Destination != e.Destination {
		c.violated(Misrouted, e.ID, "was parked for %s, belongs to %s", d.Destination, e.Destination)
	}
	if d.Body != e.Payload {
		c.violated(Changed, e.ID, "was written as %.80q and parked as %.80q", e.Payload, d.Body)
	}
}
