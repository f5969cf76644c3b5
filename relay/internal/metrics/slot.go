package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// GapFound counts a gap: the slot did not bring every event.
func (m *Metrics) GapFound() { m.gaps.Inc() }

// SessionEnded counts the end of a session.
func (m *Metrics) SessionEnded(reason string) { m.sessions.WithLabelValues(reason).Inc() }

// Observed sets the load of the window and the state of the slot.
func (m *Metrics) Observed(load checkpoint.Load, o slot.Observation) {
	m.windowEvents.Set(float64(load.Events))
	m.windowBytes.Set(float64(load.Bytes))
	m.slotObserved(o.DeliveryLag, o.RetainedWAL, o.SafeWALSize, o.WALStatus)
}

// SlotLooked sets the state of the slot, in a relay that does not stream from it.
func (m *Metrics) SlotLooked(s slot.State) {
	m.slotObserved(s.DeliveryLag, s.RetainedWAL, s.SafeWALSize, s.WALStatus)
}

func (m *Metrics) slotObserved(deliveryLag, retainedWAL, safeWALSize int64, walStatus string) {
	m.deliveryLag.Set(float64(deliveryLag))
	m.retainedWAL.Set(float64(retainedWAL))
	m.safeWAL.Set(float64(safeWALSize))
	for _, status := range walStatuses {
		m.walStatus.WithLabelValues(status).Set(oneIf(status == walStatus))
	}
}

// Flow returns how many events are on their way, and how many were read so far, from the log and
// from the table.
func (m *Metrics) Flow() (inFlight int, read uint64) {
	return int(valueOf(m.windowEvents)), uint64(valueOf(m.received) + valueOf(m.recovered))
}

// valueOf returns the value of a gauge or a counter.
func valueOf(metric prometheus.Metric) float64 {
	var value dto.Metric
	if metric.Write(&value) != nil {
		return 0
	}
	return value.GetGauge().GetValue() + value.GetCounter().GetValue()
}

// Oldest has age tell how long the oldest undelivered event has waited, at each time that it is
// asked for.
func (m *Metrics) Oldest(age func() time.Duration) { m.oldest.Store(&age) }

func (m *Metrics) oldestSeconds() float64 {
	if age := m.oldest.Load(); age != nil {
		return (*age)().Seconds()
	}
	return 0
}

// Began sets the position of the checkpoint with which a session starts.
func (m *Metrics) Began(p checkpoint.Position, written time.Time) {
	m.flushLSN.Set(float64(p.FlushLSN))
	m.lastCheckpoint.Set(float64(written.UnixMilli()) / 1000)
}

// Saved sets the position of a checkpoint that was just written.
func (m *Metrics) Saved(p checkpoint.Position) {
	m.flushLSN.Set(float64(p.FlushLSN))
	m.lastCheckpoint.SetToCurrentTime()
}
