package metrics

import "github.com/prometheus/client_golang/prometheus"

// definer creates metrics and registers them.
type definer struct{ registry *prometheus.Registry }

func (d definer) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	d.registry.MustRegister(c)
	return c
}

func (d definer) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	d.registry.MustRegister(c)
	return c
}

func (d definer) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	d.registry.MustRegister(g)
	return g
}

func (d definer) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	d.registry.MustRegister(g)
	return g
}

func (d definer) histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: delays}, labels)
	d.registry.MustRegister(h)
	return h
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
		"that their destination accepted.", "destination", "code")
	m.deadLetters = gauge(metricDeadLetters, "Events of this slot that are parked now.")
	m.retried = counters(metricEventsRetried, "Attempts to deliver an event that have to be repeated.", "destination",
		"code")
	m.eventsDropped = counter(metricEventsDropped, "Events that RELAY_ROUTES leads to none: they are sent nowhere, "+
		"and count as delivered.")
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
	m.oldestDeferral = gauge(metricOldestDeferral, "How long the first of the destinations in relay_deferrals has "+
		"been deferred; 0 if none is.")
	m.deferredGroups = gauge(metricDeferredGroups, "Aggregates whose events wait in the outbox table, because they "+
		"come faster than their destination accepts them.")
	m.oldestGroup = gauge(metricOldestGroup, "How long the first of the aggregates in "+
		"relay_deferred_aggregates has waited; 0 if none does.")
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
	m.windowBytes = gauge(metricWindowBytes, "Bytes of the events in relay_window_events.")
	m.deliveryLag = gauge(metricDeliveryLag, "Bytes of log between confirmed_flush_lsn and the end.")
	m.retainedWAL = gauge(metricRetainedWAL, "Bytes of log that the slot keeps on the database's disk.")
	m.safeWAL = gauge(metricSafeWALSize, "Bytes of log that may be written before the slot is in danger; -1 without "+
		"a limit.")
	m.gaps = counter(metricSlotGaps, "Times that the slot could not bring every event and the outbox table had to.")
	m.audited = counter(metricAuditedEvents, "Rows of the outbox table that were compared with those that the log "+
		"brought.")
	m.missing = counter(metricAuditMissing, "Rows of the outbox table that the log did not bring.")
	m.removed = counters(metricRowsRemoved, "Delivered rows of the outbox table, and redriven or discarded dead "+
		"letters, that were removed.", "table")
	m.sessions = counters(metricSessions, "Sessions that ended, by reason.", "reason")
	m.flushLSN = gauge(metricFlushLSN, "Position up to which every event is delivered, parked or deferred.")
	m.lastCheckpoint = gauge(metricLastCheckpoint, "Time of the last write of the checkpoint row.")
}

// walStatuses are all values of wal_status.
// https://www.postgresql.org/docs/current/view-pg-replication-slots.html
var walStatuses = []string{"reserved", "extended", "unreserved", "lost"}

// delays are the buckets from a broker in the same network to an outage.
var delays = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}
