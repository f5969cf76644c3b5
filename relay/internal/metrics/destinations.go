package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// requestSeries are the series of one destination that each successful request changes. The lookup
// of a series by its labels takes longer than the change.
type requestSeries struct {
	requests, delivered         prometheus.Counter
	duration, commitToDelivered prometheus.Observer
}

func (m *Metrics) requestSeries(destination string) *requestSeries {
	m.requestedMu.Lock()
	defer m.requestedMu.Unlock()
	s := m.requested[destination]
	if s == nil {
		s = &requestSeries{
			requests:          m.requests.WithLabelValues(destination, ""),
			delivered:         m.delivered.WithLabelValues(destination),
			duration:          m.requestDuration.WithLabelValues(destination),
			commitToDelivered: m.commitToDelivered.WithLabelValues(destination),
		}
		m.requested[destination] = s
	}
	return s
}

// Requested counts a request to a destination.
func (m *Metrics) Requested(destination string, _ int, took time.Duration, err error) {
	if err != nil {
		m.requests.WithLabelValues(destination, sink.Code(err)).Inc()
		m.requestDuration.WithLabelValues(destination).Observe(took.Seconds())
		return
	}
	s := m.requestSeries(destination)
	s.requests.Inc()
	s.duration.Observe(took.Seconds())
}

// Delivered counts the events of a request that are durable. An element of sinceCommit is zero if
// the commit time is unknown.
func (m *Metrics) Delivered(destination string, sinceCommit []time.Duration) {
	s := m.requestSeries(destination)
	s.delivered.Add(float64(len(sinceCommit)))
	for _, delay := range sinceCommit {
		if delay > 0 {
			s.commitToDelivered.Observe(delay.Seconds())
		}
	}
}

// Paced sets the number of requests a second that the pacer allows for a destination, or zero
// without a limit, and whether the destination throttles.
func (m *Metrics) Paced(destination string, perSecond float64, throttled bool) {
	m.paced.WithLabelValues(destination).Set(perSecond)
	m.throttled.WithLabelValues(destination).Set(oneIf(throttled))
}

// Paused sets whether a destination is paused.
func (m *Metrics) Paused(destination string, paused bool) {
	m.paused.WithLabelValues(destination).Set(oneIf(paused))
}

// PausedFor sets how long the first of the paused destinations has been paused.
func (m *Metrics) PausedFor(oldest time.Duration) { m.oldestPause.Set(oldest.Seconds()) }

// Unavailable sets whether a destination is unavailable.
func (m *Metrics) Unavailable(destination string, unavailable bool) {
	m.unavailable.WithLabelValues(destination).Set(oneIf(unavailable))
}

// Retried counts an attempt that the relay has to retry.
func (m *Metrics) Retried(destination, code string) {
	m.retried.WithLabelValues(destination, code).Inc()
}

// Expect creates the series of a destination at zero, so that the first event is an increase.
func (m *Metrics) Expect(destination string) {
	m.delivered.WithLabelValues(destination)
	m.redriven.WithLabelValues(destination)
	m.replayed.WithLabelValues(destination, "")
	m.Stored(destination, 0, 0)
	m.Paced(destination, 0, false)
	m.Unavailable(destination, false)
	m.Paused(destination, false)
	m.Deferred(destination, 0)
	m.Removed(destination, 0)
}
