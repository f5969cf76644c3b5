// Package metrics counts and measures the work of the relay, for dashboards and alarms.
package metrics

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the relay's metrics. All methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	state, walStatus                   *prometheus.GaugeVec
	received, recovered, dropped, gaps prometheus.Counter
	eventsDropped                      prometheus.Counter
	audited, missing                   prometheus.Counter
	delivered, requests                *prometheus.CounterVec
	parked, redriven, replayed         *prometheus.CounterVec
	unrouted, spansDropped             *prometheus.CounterVec
	retried, sessions, removed         *prometheus.CounterVec
	deadLetters                        prometheus.Gauge
	requestDuration                    *prometheus.HistogramVec
	requestedMu                        sync.Mutex
	requested                          map[string]*requestSeries // by destination
	paced, throttled, unavailable      *prometheus.GaugeVec
	paused                             *prometheus.GaugeVec
	oldestPause                        prometheus.Gauge
	largeEvents, largeEventBytes       *prometheus.CounterVec
	largeEventsFailed                  *prometheus.CounterVec
	largeEventsWait                    prometheus.Gauge
	deferred                           *prometheus.GaugeVec
	deferrals, oldestDeferral          prometheus.Gauge
	deferredGroups, oldestGroup        prometheus.Gauge
	blockedGroups                      prometheus.Gauge
	deferredRemoved                    *prometheus.CounterVec
	commitToDelivered                  *prometheus.HistogramVec
	windowEvents, windowBytes          prometheus.Gauge
	oldest                             atomic.Pointer[func() time.Duration] // age of the oldest undelivered event
	deliveryLag, retainedWAL, safeWAL  prometheus.Gauge
	flushLSN, lastCheckpoint           prometheus.Gauge
	tables                             prometheus.Gauge       // nil for one table
	tableReceived                      *prometheus.CounterVec // nil for one table
	tablesOnce                         sync.Once
}

// New returns Metrics with every counter at zero.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), requested: map[string]*requestSeries{}}
	m.state = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metricState, Help: "1 for the state the relay is in."},
		[]string{"state"})
	m.walStatus = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: metricSlotWALStatus, Help: "1 for the wal_status of the slot, as pg_replication_slots has it.",
	}, []string{"status"})
	m.registry.MustRegister(m.state, m.walStatus, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	d := definer{m.registry}
	m.defineEvents(d)
	m.defineDestinations(d)
	m.defineLargeEvents(d)
	m.defineWaits(d)
	m.defineProgress(d)
	return m
}

// Registry returns the registry of all metrics, for other formats.
func (m *Metrics) Registry() prometheus.Gatherer { return m.registry }

// Handler serves the metrics in the text format of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// State sets whether the relay is in a state.
func (m *Metrics) State(state string, is bool) { m.state.WithLabelValues(state).Set(oneIf(is)) }

// Received counts an event that was read from the log, and its headers that were dropped.
func (m *Metrics) Received(droppedHeaders int) {
	m.received.Inc()
	m.dropped.Add(float64(droppedHeaders))
}

// Recovered counts an event that was read from the table, and its headers that were dropped.
func (m *Metrics) Recovered(droppedHeaders int) {
	m.recovered.Inc()
	m.dropped.Add(float64(droppedHeaders))
}

// Dropped counts events that a route leads nowhere.
func (m *Metrics) Dropped(events int) { m.eventsDropped.Add(float64(events)) }

// Outcomes of an event whose pattern leads to no allowed destination.
const (
	UnroutedParked  = "parked"  // it becomes a dead letter
	UnroutedDefault = "default" // the default destination gets it
)

// Unrouted counts an event whose pattern leads to no allowed destination.
func (m *Metrics) Unrouted(outcome string) { m.unrouted.WithLabelValues(outcome).Inc() }

// ExpectUnrouted creates the series of these events at zero, so that the first one is an increase.
func (m *Metrics) ExpectUnrouted() {
	m.unrouted.WithLabelValues(UnroutedParked)
	m.unrouted.WithLabelValues(UnroutedDefault)
}

// HeadersDropped counts headers that were omitted from their message.
func (m *Metrics) HeadersDropped(headers int) { m.dropped.Add(float64(headers)) }

// SpansDropped counts spans that were lost.
func (m *Metrics) SpansDropped(reason string, spans int) {
	m.spansDropped.WithLabelValues(reason).Add(float64(spans))
}

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

// Parked counts a dead letter.
func (m *Metrics) Parked(destination, code string) { m.parked.WithLabelValues(destination, code).Inc() }

// Redriven counts a dead letter that a redrive has delivered.
func (m *Metrics) Redriven(destination string) { m.redriven.WithLabelValues(destination).Inc() }

// Replayed counts an event that a replay has resent. code is empty if the destination accepted the
// event.
func (m *Metrics) Replayed(destination, code string) {
	m.replayed.WithLabelValues(destination, code).Inc()
}

// Audited counts rows of the outbox table that the audit has compared with the rows from the log.
func (m *Metrics) Audited(rows int64) { m.audited.Add(float64(rows)) }

// EventsMissing counts rows that the log did not bring.
func (m *Metrics) EventsMissing(rows int64) { m.missing.Add(float64(rows)) }

// RowsRemoved counts rows of the outbox table that retention has removed.
func (m *Metrics) RowsRemoved(rows int64) { m.removed.WithLabelValues("outbox").Add(float64(rows)) }

// DeadLettersRemoved counts closed dead letters that retention has removed.
func (m *Metrics) DeadLettersRemoved(deadLetters int64) {
	m.removed.WithLabelValues("dead_letters").Add(float64(deadLetters))
}

// Tables sets the number of outbox tables, in a relay with several. A relay with one table has no
// metrics of tables.
func (m *Metrics) Tables(tables int) {
	m.tablesOnce.Do(func() {
		m.tables = prometheus.NewGauge(prometheus.GaugeOpts{
			Name: metricTables, Help: "Outbox tables of the relay, if RELAY_TABLE names several.",
		})
		m.tableReceived = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricTableReceived, Help: "Events read from the log, by table, if RELAY_TABLE names several.",
		}, []string{"table"})
		m.registry.MustRegister(m.tables, m.tableReceived)
	})
	m.tables.Set(float64(tables))
}

// ReceivedFrom counts an event that was read from the log, by one of several tables.
func (m *Metrics) ReceivedFrom(table string) { m.tableReceived.WithLabelValues(table).Inc() }
