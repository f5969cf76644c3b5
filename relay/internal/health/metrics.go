// Package health exposes the state of the relay: probes for an orchestrator and metrics for
// dashboards and alarms.
package health

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Names of the metrics. They are a contract, because alarms and dashboards depend on them.
const (
	metricState             = "relay_state"
	metricEventsReceived    = "relay_events_received_total"
	metricEventsDelivered   = "relay_events_delivered_total"
	metricEventsParked      = "relay_events_parked_total"
	metricEventsRedriven    = "relay_events_redriven_total"
	metricEventsReplayed    = "relay_events_replayed_total"
	metricDeadLetters       = "relay_dead_letters"
	metricDeferred          = "relay_deferred_events"
	metricDeferrals         = "relay_deferrals"
	metricOldestDeferral    = "relay_deferral_oldest_seconds"
	metricDeferredGroups    = "relay_deferred_aggregates"
	metricOldestGroup       = "relay_deferred_aggregate_oldest_seconds"
	metricBlockedGroups     = "relay_blocked_aggregates"
	metricDeferredRemoved   = "relay_deferred_events_removed_total"
	metricEventsDropped     = "relay_events_dropped_total"
	metricEventsUnrouted    = "relay_events_unrouted_total"
	metricEventsRetried     = "relay_events_retried_total"
	metricEventsRecovered   = "relay_events_recovered_total"
	metricHeadersDropped    = "relay_headers_dropped_total"
	metricSpansDropped      = "relay_spans_dropped_total"
	metricRequests          = "relay_requests_total"
	metricRequestDuration   = "relay_request_duration_seconds"
	metricPaced             = "relay_paced_requests_per_second"
	metricThrottled         = "relay_destination_throttled"
	metricUnavailable       = "relay_destination_unavailable"
	metricPaused            = "relay_destination_paused"
	metricOldestPause       = "relay_pause_oldest_seconds"
	metricCommitToDelivered = "relay_commit_to_delivered_seconds"
	metricTables            = "relay_tables"
	metricTableReceived     = "relay_table_events_received_total"
	metricWindowEvents      = "relay_window_events"
	metricWindowBytes       = "relay_window_bytes"
	metricOldest            = "relay_oldest_undelivered_seconds"
	metricDeliveryLag       = "relay_delivery_lag_bytes"
	metricRetainedWAL       = "relay_retained_wal_bytes"
	metricSafeWALSize       = "relay_safe_wal_size_bytes"
	metricSlotWALStatus     = "relay_slot_wal_status"
	metricSlotGaps          = "relay_slot_gaps_total"
	metricAuditedEvents     = "relay_audited_events_total"
	metricAuditMissing      = "relay_audit_missing_events_total"
	metricRowsRemoved       = "relay_rows_removed_total"
	metricSessions          = "relay_sessions_total"
	metricFlushLSN          = "relay_flush_lsn_bytes"
	metricLastCheckpoint    = "relay_last_checkpoint_timestamp_seconds"
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
	paced, throttled, unavailable      *prometheus.GaugeVec
	paused                             *prometheus.GaugeVec
	oldestPause                        prometheus.Gauge
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

// NewMetrics returns Metrics with every counter at zero.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
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
	m.defineWaits(d)
	m.defineProgress(d)
	return m
}

// defineEvents defines the counts of events by their fate.
func (m *Metrics) defineEvents(d definer) {
	counter, counters, gauge := d.counter, d.counters, d.gauge
	m.received = counter(metricEventsReceived, "Events read from the log.")
	m.recovered = counter(metricEventsRecovered, "Events read from the outbox table because the log may not bring "+
		"them.")
	m.delivered = counters(metricEventsDelivered, "Events that are durable at their destination.", "destination")
	m.parked = counters(metricEventsParked, "Events that were parked as dead letters.",
		"destination", "code")
	m.redriven = counters(metricEventsRedriven, "Dead letters that were delivered after all.", "destination")
	m.replayed = counters(metricEventsReplayed, "Delivered events that a replay has resent; code is empty for those "+
		"that their destination took.", "destination", "code")
	m.deadLetters = gauge(metricDeadLetters, "Events of this slot that are parked now.")
	m.retried = counters(metricEventsRetried, "Attempts to deliver an event that have to be repeated.", "destination",
		"code")
	m.eventsDropped = counter(metricEventsDropped, "Events that RELAY_ROUTES leads to none: they are sent nowhere, "+
		"and count as done.")
	m.unrouted = counters(metricEventsUnrouted, "Events whose pattern leads to no allowed destination, by outcome: "+
		"parked, or default for those that the default destination gets.", "outcome")
	m.dropped = counter(metricHeadersDropped, "Headers that were omitted from their message: no attribute can hold "+
		"them, or they found no room.")
	m.spansDropped = counters(metricSpansDropped, "Spans that the OpenTelemetry collector did not get. There is none "+
		"without OTEL_EXPORTER_OTLP_ENDPOINT.", "reason")
}

// defineDestinations defines the requests to destinations, and the state of each.
func (m *Metrics) defineDestinations(d definer) {
	counters, gauge, gauges, histogram := d.counters, d.gauge, d.gauges, d.histogram
	m.requests = counters(metricRequests, "Requests to destinations; code is empty if the request succeeded.",
		"destination", "code")
	m.requestDuration = histogram(metricRequestDuration, "Time from request to answer.", "destination")
	m.paced = gauges(metricPaced, "Requests a second to which the relay holds itself; 0 while nothing limits them.",
		"destination")
	m.throttled = gauges(metricThrottled, "1 while the destination limits the rate of requests, else 0.", "destination")
	m.unavailable = gauges(metricUnavailable, "1 while the destination has accepted nothing since a request or a "+
		"message failed, else 0.", "destination")
	m.paused = gauges(metricPaused, "1 while an operator has the relay send nothing to the destination (relay pause), "+
		"else 0.", "destination")
	m.oldestPause = gauge(metricOldestPause, "How long the first of the paused destinations has been paused; 0 if "+
		"none is.")
}

// defineWaits defines how many events wait, and for how long.
func (m *Metrics) defineWaits(d definer) {
	counters, gauge, gauges, histogram := d.counters, d.gauge, d.gauges, d.histogram
	m.deferred = gauges(metricDeferred, "About how many events wait in the outbox table, because the destination "+
		"has been unavailable for RELAY_PARK_AFTER or is paused, or their aggregate is far behind or has a dead "+
		"letter.", "destination")
	m.deferredRemoved = counters(metricDeferredRemoved, "Events whose rows were removed from the outbox table "+
		"while they waited there. They are lost.", "destination")
	m.deferrals = gauge(metricDeferrals, "Destinations whose events wait in the outbox table because they are "+
		"unavailable. One that is paused does not count.")
	m.oldestDeferral = gauge(metricOldestDeferral, "Age of the oldest deferral: how long its events have waited; 0 "+
		"without a deferral.")
	m.deferredGroups = gauge(metricDeferredGroups, "Aggregates whose events wait in the outbox table, because they "+
		"come faster than their destination accepts them.")
	m.oldestGroup = gauge(metricOldestGroup, "How long the first of these aggregates has waited; 0 if none does.")
	m.blockedGroups = gauge(metricBlockedGroups, "Aggregates whose events wait in the outbox table, because an "+
		"earlier event of the aggregate is a dead letter.")
	m.commitToDelivered = histogram(metricCommitToDelivered,
		"Time from the commit of an event's transaction until it is delivered.", "destination")
}

// defineProgress defines the way of the relay through the log, and the state of its slot.
func (m *Metrics) defineProgress(d definer) {
	counter, counters, gauge := d.counter, d.counters, d.gauge
	m.windowEvents = gauge(metricWindowEvents, "Events from the oldest that is not delivered to the newest that was "+
		"read.")
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: metricOldest, Help: "Age of the oldest undelivered event, read or not; 0 if there is none. It rises " +
			"while the relay cannot tell.",
	}, m.oldestSeconds))
	m.windowBytes = gauge(metricWindowBytes, "Bytes of these events.")
	m.deliveryLag = gauge(metricDeliveryLag, "Bytes of log between confirmed_flush_lsn and the end.")
	m.retainedWAL = gauge(metricRetainedWAL, "Bytes of log that the slot keeps on the database's disk.")
	m.safeWAL = gauge(metricSafeWALSize, "Bytes of log that may be written before the slot is in danger; -1 without "+
		"a limit.")
	m.gaps = counter(metricSlotGaps, "Times that the slot could not bring every event and the outbox table had to.")
	m.audited = counter(metricAuditedEvents, "Rows of the outbox table that were compared with those that the log "+
		"brought.")
	m.missing = counter(metricAuditMissing, "Rows of the outbox table that the log did not bring.")
	m.removed = counters(metricRowsRemoved, "Delivered rows of the outbox table, and closed dead letters, that were "+
		"removed.", "table")
	m.sessions = counters(metricSessions, "Sessions that ended, by reason.", "reason")
	m.flushLSN = gauge(metricFlushLSN, "Position up to which every event is delivered, parked, or "+
		"waiting in the outbox table under a stored deferral.")
	m.lastCheckpoint = gauge(metricLastCheckpoint, "Time of the last write of the checkpoint row.")
}

// Registry returns the registry of all metrics, for other formats.
func (m *Metrics) Registry() prometheus.Gatherer { return m.registry }

// walStatuses are all values of wal_status.
// https://www.postgresql.org/docs/current/view-pg-replication-slots.html
var walStatuses = []string{"reserved", "extended", "unreserved", "lost"}

// delays are the buckets from a broker in the same network to an outage.
var delays = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}

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

// Requested counts a request to a destination.
func (m *Metrics) Requested(destination string, _ int, took time.Duration, err error) {
	m.requests.WithLabelValues(destination, sink.Code(err)).Inc()
	m.requestDuration.WithLabelValues(destination).Observe(took.Seconds())
}

// Delivered counts the events of a request that are durable. An element of sinceCommit is zero if
// the commit time is unknown.
func (m *Metrics) Delivered(destination string, sinceCommit []time.Duration) {
	m.delivered.WithLabelValues(destination).Add(float64(len(sinceCommit)))
	delays := m.commitToDelivered.WithLabelValues(destination)
	for _, delay := range sinceCommit {
		if delay > 0 {
			delays.Observe(delay.Seconds())
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

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

// Retried counts an attempt that the relay has to retry.
func (m *Metrics) Retried(destination, code string) {
	m.retried.WithLabelValues(destination, code).Inc()
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

// GapFound counts a gap: the slot did not bring every event.
func (m *Metrics) GapFound() { m.gaps.Inc() }

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

// Expect creates the series of a destination at zero, so that the first event is an increase.
func (m *Metrics) Expect(destination string) {
	m.delivered.WithLabelValues(destination)
	m.redriven.WithLabelValues(destination)
	m.replayed.WithLabelValues(destination, "")
	m.Paced(destination, 0, false)
	m.Unavailable(destination, false)
	m.Paused(destination, false)
	m.Deferred(destination, 0)
	m.Removed(destination, 0)
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
