// Package checker finds the broken promises in the recorded history of a run under faults. It
// shares no code with the relay. It knows the committed events, the receipts of the destinations
// and the dead letters.
package checker

import "time"

// History has all records of one run. Times count from its start.
type History struct {
	Destinations []Destination
	Events       []Event      // all written events, committed or not
	Rows         []Row        // every committed row of the outbox table, in order of seq
	Receipts     []Receipt    // accepted messages; for each destination in the order of acceptance
	DeadLetters  []DeadLetter // in the order of parking
	Operator     Operator
	Replays      []Replay
	Faults       []Fault  // in the order of their start
	Problems     []string // other problems, such as a relay that did not stop cleanly
}

// Destination is a topic or queue.
type Destination struct {
	Name           string
	FIFO           bool
	ParksAggregate bool // a refused event blocks the later events of its aggregate
	// GroupBatches allows several events of an aggregate in one request. A request that fails in
	// part may reorder them.
	GroupBatches bool
	// ParkAfter is how long the destination may accept nothing before its events are parked. Zero
	// is for ever.
	ParkAfter time.Duration
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
	ID            string
	AggregateType string
	AggregateID   string
	Type          string
	Payload       string
	Outcome       Outcome
	Destination   string // name of its destination
	Poison        bool   // a poison message: the destination refuses it
	Repairable    bool   // the destination refuses it only until an operator repairs the cause
}

// Row is a row of the outbox table.
type Row struct {
	ID      string
	Seq     int64
	Payload string
	Removed bool // removed by the end of the run
}

// Receipt is one acceptance by a destination.
type Receipt struct {
	Destination     string
	At              time.Duration
	Relay           string // process that sent the message
	EventID         string
	EventType       string
	AggregateType   string
	AggregateID     string
	Sequence        string
	DeduplicationID string
	Replay          string // number of its replay; empty outside of replays
	Body            string
}

// DeadLetter is an event that was parked.
type DeadLetter struct {
	EventID     string
	Destination string
	Body        string
	Blocks      bool     // blocks later events of its aggregate
	Changes     []Change // changes of its state; the first is the parking
}

// Change is a new state of a dead letter: parked, redriving, redriven or discarded.
type Change struct {
	At       time.Duration
	State    string
	Code     string // code of the refusal
	Redrives int    // number of redrives so far
}

func (d *DeadLetter) parkedAt() time.Duration { return d.Changes[0].At }

func (d *DeadLetter) last() Change { return d.Changes[len(d.Changes)-1] }

// Operator records the actions of the operator on dead letters.
type Operator struct {
	// RepairedAt is when the destinations began to accept repairable events. Zero is never.
	RepairedAt time.Duration
	// RedroveAll reports that the operator finally redrove every parked event, after the repair.
	RedroveAll bool
	// Discarded is the number of discarded dead letters that the commands reported.
	// DiscardedUnknown reports that the output of a command is missing.
	Discarded        int
	DiscardedUnknown bool
}

// Replay is a request of an operator to resend delivered events.
type Replay struct {
	ID       string
	At       time.Duration // time of the request
	Selected []string      // events to send, unless they are parked or removed
	Sent     int           // as reported to the operator
	State    string        // state at the end of the run
}

// Fault is one injected fault with its start and end.
type Fault struct {
	Kind     string
	From, To time.Duration
	// Repeats allows accepted events to arrive again after the fault.
	Repeats bool
	// Hides allows a destination to accept events without an acknowledgement.
	Hides bool `json:",omitempty"`
	// Partial allows requests to fail in part.
	Partial bool `json:",omitempty"`
	// Skips allows the stream to omit events until a relay notices.
	Skips bool `json:",omitempty"`
	// Strands leaves undelivered events in the log alone. A recovery publishes the table first.
	Strands bool `json:",omitempty"`
	// Identity marks a fault of the credentials, for which no destination is to blame.
	Identity bool `json:",omitempty"`
	// Deposed names a relay that was frozen or cut off while another one acquired the slot. It must
	// not publish between DeposedAt and Rejoined.
	Deposed   string        `json:",omitempty"`
	DeposedAt time.Duration `json:",omitempty"`
	Rejoined  time.Duration `json:",omitempty"`
	// Noticed marks an event in the log of a relay that was not injected. It explains a repetition
	// only if no injected fault does.
	Noticed bool `json:",omitempty"`
}
