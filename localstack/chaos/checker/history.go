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
	Faults       []Fault      // in the order in which they began
	Problems     []string     // what went wrong beside the events, such as a relay that did not stop cleanly
}

// Destination is a topic or queue.
type Destination struct {
	Name           string
	FIFO           bool
	ParksAggregate bool // a refused event blocks those behind it of its aggregate
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
	Poison        bool   // the destination will never take it
}

// Row is a row of the outbox table.
type Row struct {
	ID      string
	Seq     int64
	Payload string
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
	Body            string
}

// DeadLetter is an event that was parked.
type DeadLetter struct {
	EventID     string
	Destination string
	Code        string
	Body        string
}

// Fault is something that was done to a part of the system, from one time to another.
type Fault struct {
	Kind     string
	From, To time.Duration
	// Repeats says that events that were accepted before it may come again after it.
	Repeats bool
	// Frozen names a relay that stood still meanwhile, while another one took over; from To until Rejoined it must not
	// publish.
	Frozen   string        `json:",omitempty"`
	Rejoined time.Duration `json:",omitempty"`
	// Noticed marks what nobody did on purpose, but was seen in a relay's log. It explains only what nothing else does.
	Noticed bool `json:",omitempty"`
}
