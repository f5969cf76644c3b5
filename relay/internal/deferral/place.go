package deferral

import (
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Place is the scope of a deferral: one aggregate's events for a destination, or all events for it.
type Place struct {
	Destination string // its ARN
	// Both are empty for all events. An event without an aggregate id has a message group of its
	// own, so no aggregate with an empty id is ever deferred.
	AggregateType, AggregateID string
}

// IsGroup reports whether p is one aggregate.
func (p Place) IsGroup() bool { return p.AggregateID != "" }

// String names p in errors.
func (p Place) String() string {
	if p.IsGroup() {
		return "aggregate " + p.AggregateType + " " + p.AggregateID + " for " + p.Destination
	}
	return p.Destination
}

// attrs names p in a log line.
func (p Place) attrs() []any {
	if !p.IsGroup() {
		return []any{"destination", p.Destination}
	}
	return []any{"destination", p.Destination, "aggregate", p.AggregateType + " " + p.AggregateID}
}

// key returns the key by which a [Gate] finds the deferral of p.
func (p Place) key() key {
	if !p.IsGroup() {
		return key{destination: p.Destination}
	}
	e := outbox.Envelope{AggregateType: p.AggregateType, AggregateID: p.AggregateID}
	return key{p.Destination, route.Group(&e, nil)}
}

// has reports whether e is an event of the aggregate. All events are, if p is none.
func (p Place) has(e *outbox.Envelope) bool {
	return !p.IsGroup() || e.AggregateType == p.AggregateType && e.AggregateID == p.AggregateID
}

// key is a destination and a message group of it. The group is empty for all of them.
type key struct{ destination, group string }

func (d Deferral) place() Place { return Place{d.Destination, d.AggregateType, d.AggregateID} }
