package events

import "time"

// formatVersion is that of the JSON form of [Event] and [Last]. It changes when a field changes its
// meaning or disappears, not when one is added.
const formatVersion = 1

// The states of an [Event].
const (
	Accepted = "accepted" // by a destination, as this relay remembers
	Parked   = "parked"   // it is a dead letter, parked or being redriven
	// Done is an event that the checkpoint counts as delivered: it was delivered or parked, or
	// RELAY_START excluded it.
	Done    = "done"
	Waiting = "waiting" // it is committed, and the checkpoint does not count it as delivered yet
	Unknown = "unknown"
)

// Event is what is known of an event. It has no payload and no headers.
type Event struct {
	ID            string `json:"id"`
	Type          string `json:"type,omitempty"`
	AggregateType string `json:"aggregate_type,omitempty"`
	AggregateID   string `json:"aggregate_id,omitempty"`
	Sequence      *int64 `json:"seq,omitempty"`
	CreatedAt     string `json:"created_at,omitempty"` // as the producer wrote it
	State         string `json:"state"`
	Reason        string `json:"reason,omitempty"` // of the state

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

// One is the answer to the question for one event.
type One struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	Found   bool      `json:"found"` // in the table, among the dead letters or in the relay's memory
	Event
	Unknown []string `json:"unknown,omitempty"` // what cannot be known, and why
}

// Last are the last events of the table.
type Last struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	Events  []Event   `json:"events"` // the last first
	Waiting *Backlog  `json:"waiting,omitempty"`
	Unknown []string  `json:"unknown,omitempty"` // what cannot be known, and why
}

// Backlog are the rows of the table that the checkpoint does not count as delivered yet.
type Backlog struct {
	Events   int    `json:"events"`
	More     bool   `json:"more"`                // there are more than were counted
	OldestAt string `json:"oldest_at,omitempty"` // of those that were counted
}
