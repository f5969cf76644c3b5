package metrics

import (
	"time"
)

// DeadLetters sets the number of parked events.
func (m *Metrics) DeadLetters(parked int64) { m.deadLetters.Set(float64(parked)) }

// Deferred sets about how many events of a destination wait in the outbox table.
func (m *Metrics) Deferred(destination string, events int64) {
	m.deferred.WithLabelValues(destination).Set(float64(events))
}

// Deferrals sets of how many destinations events wait in the outbox table, and for how long.
func (m *Metrics) Deferrals(destinations int, oldest time.Duration) {
	m.deferrals.Set(float64(destinations))
	m.oldestDeferral.Set(oldest.Seconds())
}

// DeferredGroups sets of how many aggregates events wait in the outbox table, and for how long.
func (m *Metrics) DeferredGroups(groups int, oldest time.Duration) {
	m.deferredGroups.Set(float64(groups))
	m.oldestGroup.Set(oldest.Seconds())
}

// DeferredBehind sets of how many aggregates events wait in the outbox table behind a dead letter.
func (m *Metrics) DeferredBehind(groups int) { m.blockedGroups.Set(float64(groups)) }

// Removed counts events whose rows were removed while they waited for a destination.
func (m *Metrics) Removed(destination string, events int64) {
	m.deferredRemoved.WithLabelValues(destination).Add(float64(events))
}
