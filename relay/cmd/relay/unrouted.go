package main

import (
	"log/slog"
	"sync"

	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// unroutedNamed bounds how many different destinations the log names.
const unroutedNamed = 100

// unrouted counts the events whose pattern leads to no allowed destination, and names each of these
// destinations once.
type unrouted struct {
	log     *slog.Logger
	metrics *metrics.Metrics

	mu    sync.Mutex
	named map[string]bool
}

// newUnrouted has the counter start at zero if router has patterns, so that the first event is an
// increase. Otherwise no event can be unrouted.
func newUnrouted(router *route.Router, log *slog.Logger, m *metrics.Metrics) *unrouted {
	if len(router.Patterns()) > 0 {
		m.ExpectUnrouted()
	}
	return &unrouted{log: log, metrics: m, named: map[string]bool{}}
}

func (u *unrouted) count(unknown route.Unknown) {
	outcome, destination := metrics.UnroutedDefault, unknown.Destination
	if unknown.Parked {
		outcome = metrics.UnroutedParked
	}
	u.metrics.Unrouted(outcome)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.named[destination] || len(u.named) == unroutedNamed {
		return
	}
	u.named[destination] = true
	u.log.Warn("the pattern of an event leads to no allowed destination: further events of this destination are "+
		"counted and not logged", "event", "destination_unknown", "event_id", unknown.EventID,
		"destination", destination, "outcome", outcome, "reason", unknown.Reason())
}
