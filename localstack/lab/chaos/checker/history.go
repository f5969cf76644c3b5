// Package checker finds the broken promises in the recorded history of a run under faults. It
// shares no code with the relay. It knows the committed events, the receipts of the destinations
// and the dead letters.
package checker

import "time"

// History has all records of one run. Times count from its start, in nanoseconds.
type History struct {
	Promises     []Rule // the rules to check; all if empty
	Destinations []Destination
	Events       []Event      // all written events, committed or not
	Rows         []Row        // every committed row of the outbox table, in order of seq
	Receipts     []Receipt    // accepted messages; for each destination in the order of acceptance
	DeadLetters  []DeadLetter // in the order of parking
	Operator     Operator
	Replays      []Replay
	Faults       []Fault  // in the order of their start
	Problems     []string // other problems, such as a relay that did not stop cleanly
	// Absent are the fields that no message has, because the outbox table has no column for them.
	Absent []string
}

// Fields of a message that may be absent, by their names in a receipt.
const (
	EventType     = "event_type"
	AggregateType = "aggregate_type"
	AggregateID   = "aggregate_id"
	Sequence      = "sequence"
)

var optional = []string{EventType, AggregateType, AggregateID, Sequence}

// Destination is a topic or queue.
type Destination struct {
	Name           string `json:"name"`
	FIFO           bool   `json:"fifo,omitempty"`
	ParksAggregate bool   `json:"parks_aggregate,omitempty"` // a refused event blocks the later events of its aggregate
	// GroupBatches allows several events of an aggregate in one request. A request that fails in
	// part may reorder them.
	GroupBatches bool `json:"group_batches,omitempty"`
	// ParkAfter is how long the destination may accept nothing before its events are parked. Zero
	// is for ever.
	ParkAfter time.Duration `json:"park_after,omitempty"`
	// RowsWait says that events behind a dead letter wait in the outbox table. None of them may
	// become a dead letter for the one before it.
	RowsWait bool `json:"rows_wait,omitempty"`
}

// Outcome is the writer's knowledge of its transaction.
type Outcome string

// The outcomes.
const (
	Committed  Outcome = "committed"
	RolledBack Outcome = "rolled back"
	// Unknown is a commit without an answer, or one that did not wait for the disk. The table shows
	// the result.
	Unknown Outcome = "unknown"
)

// Event is an event as written.
type Event struct {
	// ID is the event id, behind the name of its table and a slash if a relay has several.
	ID string `json:"id"`
	// Table is that of the event if a relay has several. Each has its own aggregates.
	Table         string  `json:"outbox_table,omitempty"`
	AggregateType string  `json:"aggregate_type,omitempty"`
	AggregateID   string  `json:"aggregate_id,omitempty"`
	Type          string  `json:"type,omitempty"`
	Payload       string  `json:"payload,omitempty"`
	Outcome       Outcome `json:"outcome"`
	Destination   string  `json:"destination"`          // name of its destination
	Poison        bool    `json:"poison,omitempty"`     // a poison message: the destination refuses it
	Repairable    bool    `json:"repairable,omitempty"` // the destination refuses it only until an operator repairs the cause
	Emitted       bool    `json:"emitted,omitempty"`    // it is in the log alone, and its messages have no sequence
}

// Row is a row of the outbox table, or stands for a committed event that has none.
type Row struct {
	ID      string `json:"id"`
	Seq     int64  `json:"seq"`
	Payload string `json:"payload,omitempty"`
	Removed bool   `json:"removed,omitempty"` // removed by the end of the run
	// Waits says that the table has the row at the end of the run, and that a deferral of its
	// aggregate has not delivered it.
	Waits bool `json:"waits,omitempty"`
}

// Receipt is one acceptance by a destination.
type Receipt struct {
	Destination     string        `json:"destination"`
	At              time.Duration `json:"at"`
	Relay           string        `json:"relay,omitempty"` // process that sent the message
	EventID         string        `json:"event_id"`
	Table           string        `json:"outbox_table,omitempty"`
	EventType       string        `json:"event_type,omitempty"`
	AggregateType   string        `json:"aggregate_type,omitempty"`
	AggregateID     string        `json:"aggregate_id,omitempty"`
	Sequence        string        `json:"sequence,omitempty"`
	DeduplicationID string        `json:"deduplication_id,omitempty"`
	Replay          string        `json:"replay,omitempty"` // number of its replay; empty outside of replays
	Body            string        `json:"body,omitempty"`
}

// DeadLetter is an event that was parked.
type DeadLetter struct {
	EventID     string   `json:"event_id"`
	Destination string   `json:"destination"`
	Body        string   `json:"body,omitempty"`
	Blocks      bool     `json:"blocks,omitempty"` // blocks later events of its aggregate
	Changes     []Change `json:"changes"`          // changes of its state; the first is the parking
}

// Change is a new state of a dead letter: parked, redriving, redriven or discarded.
type Change struct {
	At       time.Duration `json:"at"`
	State    string        `json:"state"`
	Code     string        `json:"code,omitempty"`     // code of the refusal
	Redrives int           `json:"redrives,omitempty"` // number of redrives so far
}

func (d *DeadLetter) parkedAt() time.Duration { return d.Changes[0].At }

func (d *DeadLetter) last() Change { return d.Changes[len(d.Changes)-1] }

// Operator records the actions of the operator on dead letters.
type Operator struct {
	// RepairedAt is when the destinations began to accept repairable events. Zero is never.
	RepairedAt time.Duration `json:"repaired_at,omitempty"`
	// RedroveAll reports that the operator finally redrove every parked event, after the repair.
	RedroveAll bool `json:"redrove_all,omitempty"`
	// Discarded is the number of discarded dead letters that the commands reported.
	// DiscardedUnknown reports that the output of a command is missing.
	Discarded        int  `json:"discarded,omitempty"`
	DiscardedUnknown bool `json:"discarded_unknown,omitempty"`
}

// Replay is a request of an operator to resend delivered events.
type Replay struct {
	ID       string        `json:"id"`
	At       time.Duration `json:"at,omitempty"`       // time of the request
	Selected []string      `json:"selected,omitempty"` // events to send, unless they are parked or removed
	// Waiting are the destinations whose deferral did not count an event as delivered at the
	// request, by event. The deferral stores the delivery after the event is accepted. If the relay
	// dies in between, the event is sent again before its delivery is stored.
	Waiting map[string][]string `json:"waiting,omitempty"`
	Sent    int                 `json:"sent,omitempty"`  // as reported to the operator
	State   string              `json:"state,omitempty"` // state at the end of the run
}

// Unended is the end of a fault that lasts until the end of the run.
const Unended = time.Duration(1 << 62)

// Fault is one injected fault with its start and end.
type Fault struct {
	Kind string        `json:"kind"`
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
	// Repeats allows accepted events to arrive again after the fault.
	Repeats bool `json:"repeats,omitempty"`
	// Hides allows a destination to accept events without an acknowledgement.
	Hides bool `json:"hides,omitempty"`
	// Partial allows requests to fail in part.
	Partial bool `json:"partial,omitempty"`
	// Skips allows the stream to omit events until a relay notices.
	Skips bool `json:"skips,omitempty"`
	// Strands leaves undelivered events in the log alone. A recovery publishes the table first.
	Strands bool `json:"strands,omitempty"`
	// Identity marks a fault of the credentials, for which no destination is to blame.
	Identity bool `json:"identity,omitempty"`
	// Deposed names a relay that was frozen or cut off while another one acquired the slot. It must
	// not publish between DeposedAt and Rejoined.
	Deposed   string        `json:"deposed,omitempty"`
	DeposedAt time.Duration `json:"deposed_at,omitempty"`
	Rejoined  time.Duration `json:"rejoined,omitempty"`
	// Noticed marks an event in the log of a relay that was not injected. It explains a repetition
	// only if no injected fault does.
	Noticed bool `json:"noticed,omitempty"`
}
