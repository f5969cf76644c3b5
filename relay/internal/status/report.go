// Package status says how the relays of a slot are: each relay reports itself in the database, and
// [Collect] joins the reports with the slot, the checkpoint and the dead letters, and names each
// problem with its next step.
package status

import "time"

// Report is what one relay says of itself. It is stored as JSON, so that a relay of another version
// can read it: fields are added and never change their meaning.
type Report struct {
	Instance  string    `json:"instance"` // random, one for each process
	Host      string    `json:"host"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	At        time.Time `json:"at"` // of the report, by the clock of the relay's host

	State    string    `json:"state"` // starting | standby | recovering | streaming | stopping | stopped
	Since    time.Time `json:"since"`
	Error    string    `json:"error,omitempty"`    // of the last session, until one works again
	Warnings []string  `json:"warnings,omitempty"` // of a relay that works

	Events       Events        `json:"events"`
	Destinations []Destination `json:"destinations,omitempty"`
}

// Events are the events on their way through a relay.
type Events struct {
	InFlight           int     `json:"in_flight"`            // read from the log and neither delivered nor parked
	OldestWaitSeconds  float64 `json:"oldest_wait_seconds"`  // of the oldest undelivered event, read or not
	ReadPerSecond      float64 `json:"read_per_second"`      // since the report before
	DeliveredPerSecond float64 `json:"delivered_per_second"` // since the report before
	Delivered          uint64  `json:"delivered"`            // by this process

	read uint64 // by this process
}

// The states of a [Destination].
const (
	DestinationOK          = "ok"
	DestinationThrottled   = "throttled"   // it limits the rate of requests, and accepts them at that rate
	DestinationUnavailable = "unavailable" // it has accepted no message since some failed
)

// Destination is a topic or a queue, as a relay finds it.
type Destination struct {
	Name           string     `json:"name"` // its ARN
	State          string     `json:"state"`
	Since          *time.Time `json:"since,omitempty"` // of the state, if it is not ok
	Code           string     `json:"code,omitempty"`  // of the last failed request of this outage
	Error          string     `json:"error,omitempty"`
	Failures       int        `json:"failures,omitempty"` // since it accepted a message
	LastAcceptedAt *time.Time `json:"last_accepted_at,omitempty"`
	Delivered      uint64     `json:"delivered"`            // by this process
	RateLimit      float64    `json:"rate_limit,omitempty"` // requests a second, if anything limits them
}

// setClock moves the times of a report to another clock, which shows now at the time of the report. The
// clocks of two hosts may differ by any amount, and an operator subtracts one from the other. An older
// relay does not say what its clock shows.
func (r *Report) setClock(now time.Time) {
	if r.At.IsZero() {
		return
	}
	ahead := now.Sub(r.At)
	times := []*time.Time{&r.StartedAt, &r.Since}
	for i := range r.Destinations {
		times = append(times, r.Destinations[i].Since, r.Destinations[i].LastAcceptedAt)
	}
	for _, t := range times {
		if t != nil {
			*t = t.Add(ahead)
		}
	}
	r.At = now
}
