package status

import (
	"crypto/rand"
	"os"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
)

// Local creates the report of this relay.
type Local struct {
	// MissingGuarantees are those that the columns of the outbox table do not allow.
	MissingGuarantees []string

	instance, host, version string
	startedAt               time.Time
	health                  *health.Health
	metrics                 *metrics.Metrics
	oldest                  func() time.Duration
	destinations            *Destinations
}

// NewLocal returns the Local of a process that has just started. oldest returns how long the oldest
// undelivered event has waited.
func NewLocal(
	version string, h *health.Health, m *metrics.Metrics, oldest func() time.Duration, d *Destinations,
) *Local {
	host, err := os.Hostname()
	if err != nil {
		host = "a host without a name"
	}
	return &Local{
		instance: rand.Text(), host: host, version: version, startedAt: time.Now().UTC(),
		health: h, metrics: m, oldest: oldest, destinations: d,
	}
}

// Instance returns the random name of this process.
func (l *Local) Instance() string { return l.instance }

// Report returns the current state of this relay. Its warnings exclude the danger of the slot,
// which the status reads with the slot.
func (l *Local) Report() Report {
	now := l.health.Now()
	r := Report{
		Instance: l.instance, Host: l.host, Version: l.version, StartedAt: l.startedAt, At: time.Now().UTC(),
		State: string(now.State), Since: now.Since.UTC(), Error: now.Error, Warnings: now.Retrying,
		MissingGuarantees: l.MissingGuarantees,
	}
	r.Events.InFlight, r.Events.read = l.metrics.Flow()
	r.Events.OldestWaitSeconds = l.oldest().Seconds()
	if r.State == string(health.Standby) || r.State == string(health.Starting) {
		l.destinations.forgetFailures()
	}
	seen := time.Now()
	r.Destinations, r.Events.Delivered = l.destinations.report(seen)
	l.metrics.LargeEventsWait(largeEventsWait(r.Destinations, seen))
	r.Events.Dropped = l.destinations.droppedEvents()
	for _, d := range r.Destinations {
		l.metrics.Unavailable(d.Name, d.State == DestinationUnavailable)
	}
	return r
}

// Troubled returns the destinations that are not ok.
func (l *Local) Troubled() (troubled []health.Destination) {
	destinations, _ := l.destinations.report(time.Now())
	for _, d := range destinations {
		if d.State != DestinationOK {
			troubled = append(troubled, health.Destination{
				Name: d.Name, State: d.State, Since: d.Since.UTC(), Code: d.Code, Error: d.Error,
			})
		}
	}
	return troubled
}
