package metrics

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// defineLargeEvents defines the metrics of the bucket for large events.
func (m *Metrics) defineLargeEvents(d definer) {
	m.largeEvents = d.counters(metricLargeEvents, "Bodies of large events that were stored in "+
		"RELAY_LARGE_EVENTS_BUCKET. A body that is sent again counts again.", "destination")
	m.largeEventBytes = d.counters(metricLargeEventBytes, "Bytes of the bodies of large events that were stored.",
		"destination")
	m.largeEventsFailed = d.counters(metricLargeEventsFailed, "Attempts to store the body of a large event that "+
		"the bucket did not accept.", "destination", "code")
	m.largeEventsWait = d.gauge(metricLargeEventsWait, "How long large events of a destination have waited, because "+
		"the bucket accepts none of them; 0 while it does.")
}

// Stored counts bodies of large events that were stored, and their bytes.
func (m *Metrics) Stored(destination string, bodies, bytes int) {
	m.largeEvents.WithLabelValues(destination).Add(float64(bodies))
	m.largeEventBytes.WithLabelValues(destination).Add(float64(bytes))
}

// Unstored counts bodies of large events that could not be stored.
func (m *Metrics) Unstored(destination string, bodies int, err error) {
	m.largeEventsFailed.WithLabelValues(destination, sink.Code(err)).Add(float64(bodies))
}

// LargeEventsWait sets how long large events have waited for the bucket.
func (m *Metrics) LargeEventsWait(longest time.Duration) { m.largeEventsWait.Set(longest.Seconds()) }
