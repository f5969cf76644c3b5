package deferral

import (
	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

type observation struct {
	text     string
	snapshot pgsnapshot.Snapshot
	lsn      pglogrepl.LSN
}

// Reached says that the stream was read up to lsn, and that delivery has its events.
func (g *Gate) Reached(lsn pglogrepl.LSN) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reached = max(g.reached, lsn)
	g.compare()
}

// Observed takes a snapshot and an insert LSN that was read after it.
func (g *Gate) Observed(snapshot string, lsn pglogrepl.LSN) error {
	parsed, err := pgsnapshot.Parse(snapshot)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.observed.text == "" { // or a busy stream would never reach one
		g.observed = observation{snapshot, parsed, lsn}
	}
	g.compare()
	return nil
}

// compare takes an observation that is reached. g.mu is held.
func (g *Gate) compare() {
	if g.observed.text == "" || g.reached < g.observed.lsn {
		return
	}
	if g.observed.lsn >= g.past.lsn {
		g.past = g.observed
	}
	g.observed = observation{}
}

// passed takes an observation if the stream was read past it, and reports whether it was.
func (g *Gate) passed(o Observation) bool {
	parsed, err := pgsnapshot.Parse(o.Snapshot)
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reached < o.LSN {
		return false
	}
	if o.LSN > g.past.lsn {
		g.past = observation{o.Snapshot, parsed, o.LSN}
	}
	return true
}

// lastPassed returns the last observation that the stream was read past. At first, that is one of
// an earlier session: it has no position, and deferrals may know a younger one.
func (g *Gate) lastPassed() Observation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Observation{g.past.text, g.past.lsn}
}

// Past returns the last observed snapshot that the stream was read past; empty if there is none
// yet.
func (g *Gate) Past() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.past.text
}
