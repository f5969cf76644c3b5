// Package checker reads the recorded history of a run under faults and says which promises of the relay were broken. It
// shares no code with the relay: it knows what was committed, what the destinations accepted and what was parked.
package checker

import "time"

// History is everything that is known of one run. Times are counted from its start.
type History struct {
	Destinations []Destination
	Events       []Event      // what the writers wrote, be it committed or not
	Rows         []Row        // every row that went into the outbox table for good, in order of seq
	Receipts     []Receipt    // what the destinations accepted; of each destination in the order of acceptance
	DeadLetters  []DeadLetter // in the order in which they were parked
	Operator     Operator
	Replays      []Replay
	Faults       []Fault  // in the order in which they began
	Problems     []string // what went wrong beside the events, such as a relay that did not stop cleanly
}

// Destination is a topic or queue.
type Destination struct {
	Name           string
	FIFO           bool
	ParksAggregate bool // a refused event blocks those behind it of its aggregate
	// GroupBatches says that a request may hold several events of an aggregate: one that fails in part may reorder them.
	GroupBatches bool
	// ParkAfter is how long it may take nothing before its events are parked; zero: for ever.
	ParkAfter time.Duration
}

// Outcome is what a writer knows of its transaction.
type Outcome string

// The outcomes.
const (
	Committed  Outcome = "committed"
	RolledBack Outcome = "rolled back"
	// Unknown is a commit whose answer was lost, or that did not wait for the disk: the table says what became of it.
	Unknown Outcome = "unknown"
)

// Event is an event as its writer wrote it.
type Event struct {
	ID            string
	AggregateType string
	AggregateID   string
	Type          string
	Payload       string
	Outcome       Outcome
	Destination   string // name of the one where it belongs
	Poison        bool   // the destination does not take it
	Mendable      bool   // … until an operator has mended the reason
}

// Row is a row of the outbox table.
type Row struct {
	ID      string
	Seq     int64
	Payload string
	Removed bool // by the end of the run
}

// Receipt is one acceptance by a destination.
type Receipt struct {
	Destination     string
	At              time.Duration
	Relay           string // the process that sent it
	EventID         string
	EventType       string
	AggregateType   string
	AggregateID     string
	Sequence        string
	DeduplicationID string
	Replay          string // number of the replay that it is part of; empty: of none
	Body            string
}

// DeadLetter is an event that was parked.
type DeadLetter struct {
	EventID     string
	Destination string
	Body        string
	Blocks      bool     // those behind it of its aggregate
	Changes     []Change // of its state; the first is when it was parked
}

// Change is a new state of a dead letter: parked, redriving, redriven or discarded.
type Change struct {
	At       time.Duration
	State    string
	Code     string // of the refusal
	Redrives int    // that were asked for so far
}

func (d *DeadLetter) parkedAt() time.Duration { return d.Changes[0].At }

func (d *DeadLetter) last() Change { return d.Changes[len(d.Changes)-1] }

// Operator is what a person did about dead letters.
type Operator struct {
	// MendedAt is when the destinations began to take what could be mended; zero: never.
	MendedAt time.Duration
	// RedroveAll says that in the end all was redriven that was parked, after the reason was mended.
	RedroveAll bool
	// Discarded is how many dead letters the operator was told to have given up, DiscardedUnknown that an answer is missing.
	Discarded        int
	DiscardedUnknown bool
}

// Replay is a request of an operator to send delivered events once more.
type Replay struct {
	ID       string
	At       time.Duration // when it was asked for
	Selected []string      // events that were to be sent, had they not been parked or removed
	Sent     int           // as the relay told the operator
	State    string        // at the end of the run
}

// Fault is something that was done to a part of the system, from one time to another.
type Fault struct {
	Kind     string
	From, To time.Duration
	// Repeats says that events that were accepted before it may come again after it.
	Repeats bool
	// Hides says that a destination may have accepted what it did not admit.
	Hides bool `json:",omitempty"`
	// Partial says that requests failed in part.
	Partial bool `json:",omitempty"`
	// Skips says that the stream left events out, until a relay noticed.
	Skips bool `json:",omitempty"`
	// Strands says that undelivered events were left in the log alone: a recovery publishes the table first.
	Strands bool `json:",omitempty"`
	// Identity says that who signs requests was at fault, and no destination.
	Identity bool `json:",omitempty"`
	// Deposed names a relay that stood still or was cut off while another one took over; from DeposedAt until Rejoined it
	// must not publish.
	Deposed   string        `json:",omitempty"`
	DeposedAt time.Duration `json:",omitempty"`
	Rejoined  time.Duration `json:",omitempty"`
	// Noticed marks what nobody did on purpose, but was seen in a relay's log. It explains only what nothing else does.
	Noticed bool `json:",omitempty"`
}
