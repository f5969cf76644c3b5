package history

import "time"

// formatVersion is the version of the JSON form of [Event] and [Last]. It changes when a field is
// removed or changes its meaning, and not when a field is added.
const formatVersion = 1

// The states of an [Event].
const (
	Accepted = "accepted" // by a destination, according to this relay's memory
	Parked   = "parked"   // as a dead letter, parked or being redriven
	// Done is an event that the checkpoint counts as delivered. It was delivered or parked,
	// RELAY_ROUTES dropped it, or RELAY_START excluded it.
	Done    = "done"
	Waiting = "waiting" // committed, and not delivered yet according to the checkpoint
	Unknown = "unknown"
)

// Event is the known history of an event, without payload and headers.
type Event struct {
	ID            string `json:"id"`
	Type          string `json:"type,omitempty"`
	AggregateType string `json:"aggregate_type,omitempty"`
	AggregateID   string `json:"aggregate_id,omitempty"`
	Sequence      *int64 `json:"seq,omitempty"`
	CreatedAt     string `json:"created_at,omitempty"` // in the producer's form
	State         string `json:"state"`
	Reason        string `json:"reason,omitempty"` // of the state

	extra []string // as in [outbox.Envelope]

	Acceptances []Acceptance `json:"accepted,omitempty"` // the last first
	DeadLetters []DeadLetter `json:"dead_letters,omitempty"`
}

// DeadLetter is a dead letter of an [Event].
type DeadLetter struct {
	Position    int64     `json:"position"`
	State       string    `json:"state"` // parked | redriving | redriven | discarded
	Destination string    `json:"destination"`
	Code        string    `json:"code"`
	Reason      string    `json:"reason"`
	Attempts    int       `json:"attempts"`
	ParkedAt    time.Time `json:"parked_at"`
}

// One is the answer to a request for one event.
type One struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	Found   bool      `json:"found"` // in the table, among the dead letters or in the relay's memory
	Event
	Unknown []string `json:"unknown,omitempty"` // facts that cannot be known, and why
}

// Last are the last events of the table.
type Last struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	Events  []Event   `json:"events"` // the last first
	Waiting *Backlog  `json:"waiting,omitempty"`
	Unknown []string  `json:"unknown,omitempty"` // facts that cannot be known, and why
}

// Backlog are the rows of the table that the checkpoint does not count as delivered yet.
type Backlog struct {
	Events   int    `json:"events"`
	More     bool   `json:"more"`                // more rows wait than were counted
	OldestAt string `json:"oldest_at,omitempty"` // of the counted rows
}
