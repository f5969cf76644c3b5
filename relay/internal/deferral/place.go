package deferral

import (
	"strings"

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

// ofTable separates the table from the type of an aggregate, for a relay with several tables.
const ofTable = "\x1f"

// typeOf returns the type of an event's aggregate as a deferral has it: with the table of the
// event, if the relay reads several.
func typeOf(e *outbox.Envelope) string {
	if e.Source == nil {
		return e.AggregateType
	}
	return e.Source.Table + ofTable + e.AggregateType
}

// splitType returns the parts of typeOf. table is empty for a relay with one table.
func splitType(text string) (table, aggregateType string) {
	if table, aggregateType, found := strings.Cut(text, ofTable); found {
		return table, aggregateType
	}
	return "", text
}

// placeOf returns the place of an event's aggregate at a destination.
func placeOf(destination string, e *outbox.Envelope) Place {
	return Place{destination, typeOf(e), e.AggregateID}
}

// IsGroup reports whether p is one aggregate.
func (p Place) IsGroup() bool { return p.AggregateID != "" }

// String names p in errors.
func (p Place) String() string {
	if p.IsGroup() {
		return "aggregate " + p.typeText() + " " + p.AggregateID + " for " + p.Destination
	}
	return p.Destination
}

// attrs names p in a log line.
func (p Place) attrs() []any {
	if !p.IsGroup() {
		return []any{"destination", p.Destination}
	}
	return []any{"destination", p.Destination, "aggregate", p.typeText() + " " + p.AggregateID}
}

// key returns the key by which a [Gate] finds the deferral of p.
func (p Place) key() key {
	if !p.IsGroup() {
		return key{destination: p.Destination}
	}
	e := outbox.Envelope{AggregateID: p.AggregateID}
	var table string
	if table, e.AggregateType = splitType(p.AggregateType); table != "" {
		e.Source = &outbox.Source{Table: table}
	}
	return key{p.Destination, route.Group(&e, nil)}
}

// has reports whether e is an event of the aggregate. All events are, if p is none.
func (p Place) has(e *outbox.Envelope) bool {
	return !p.IsGroup() || e.AggregateID == p.AggregateID && typeOf(e) == p.AggregateType
}

// typeText is the type of the aggregate for readers.
func (p Place) typeText() string { return strings.ReplaceAll(p.AggregateType, ofTable, "/") }

// mayHave reports whether h may have rows of a table.
func (h *held) mayHave(source *outbox.Source) bool {
	p := h.stored.place()
	if source == nil || !p.IsGroup() {
		return true
	}
	table, _ := splitType(p.AggregateType)
	return table == source.Table
}

// key is a destination and a message group of it. The group is empty for all of them.
type key struct{ destination, group string }

func (d Deferral) place() Place { return Place{d.Destination, d.AggregateType, d.AggregateID} }
