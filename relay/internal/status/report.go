// Package status reports the state of the relays of a slot. Each relay reports itself in the
// database. [Collect] joins the reports with the slot, the checkpoint and the dead letters, and
// names each problem with its next step.
package status

import "time"

// Report is the state of one relay. It is stored as JSON, so that a relay of another version can
// read it: fields are added and never change their meaning.
type Report struct {
	Instance  string    `json:"instance"` // random, one for each process
	Host      string    `json:"host"`
	Version   string    `json:"version"`
	Role      string    `json:"role,omitempty"` // of its connections; the database writes it
	StartedAt time.Time `json:"started_at"`
	At        time.Time `json:"at"` // by the clock of the relay's host

	State    string    `json:"state"` // starting | standby | recovering | streaming | stopping | stopped
	Since    time.Time `json:"since"`
	Error    string    `json:"error,omitempty"`    // of the last session, until one works again
	Warnings []string  `json:"warnings,omitempty"` // of a relay that works
	// MissingGuarantees are those that the columns of the outbox table do not allow.
	MissingGuarantees []string `json:"missing_guarantees,omitempty"`

	Events       Events        `json:"events"`
	Destinations []Destination `json:"destinations,omitempty"`
}

// Events counts the events of a relay.
type Events struct {
	InFlight           int     `json:"in_flight"`            // read from the log, and neither delivered nor parked
	OldestWaitSeconds  float64 `json:"oldest_wait_seconds"`  // of the oldest undelivered event, read or not
	ReadPerSecond      float64 `json:"read_per_second"`      // since the last report
	DeliveredPerSecond float64 `json:"delivered_per_second"` // since the last report
	Delivered          uint64  `json:"delivered"`            // by this process
	Dropped            uint64  `json:"dropped,omitempty"`    // by this process, because RELAY_ROUTES leads them to none

	read uint64 // by this process
}

const (
	DestinationOK          = "ok"
	DestinationThrottled   = "throttled"   // it accepts requests at a limited rate
	DestinationUnavailable = "unavailable" // it has accepted no message since the first failure
	DestinationRefusing    = "refusing"    // the same, and its last answer refused a message because of its content
	DestinationPaused      = "paused"      // an operator has the relay send nothing to it
	// DestinationLargeEventsWait: the bucket accepts no large event of it. It accepts other events.
	DestinationLargeEventsWait = "large_events_wait"
)

// Destination is the state of a topic or a queue.
type Destination struct {
	Name           string     `json:"name"` // its ARN
	State          string     `json:"state"`
	Since          *time.Time `json:"since,omitempty"` // since the state began; absent if it is ok
	Code           string     `json:"code,omitempty"`  // of the last failed request of this outage
	Error          string     `json:"error,omitempty"`
	Failures       int        `json:"failures,omitempty"` // since the last acceptance
	LastAcceptedAt *time.Time `json:"last_accepted_at,omitempty"`
	Delivered      uint64     `json:"delivered"`            // by this process
	RateLimit      float64    `json:"rate_limit,omitempty"` // requests a second; absent without a limit
	// LargeEvents is absent while the bucket accepts the large events of the destination.
	LargeEvents *LargeEvents `json:"large_events,omitempty"`
}

// setClock moves the times of a report to another clock, which shows now at the time of the report.
// The clocks of two hosts may differ by any amount, and an operator subtracts one time from the
// other. The report of an older relay has no At.
func (r *Report) setClock(now time.Time) {
	if r.At.IsZero() {
		return
	}
	ahead := now.Sub(r.At)
	times := []*time.Time{&r.StartedAt, &r.Since}
	for i := range r.Destinations {
		d := &r.Destinations[i]
		times = append(times, d.Since, d.LastAcceptedAt)
		if d.LargeEvents != nil {
			times = append(times, &d.LargeEvents.Since)
		}
	}
	for _, t := range times {
		if t != nil {
			*t = t.Add(ahead)
		}
	}
	r.At = now
}
