package deferral

import (
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Place is the scope of a deferral: one aggregate's events for a destination, or all events for it.
type Place struct {
	Destination string // its ARN
	// Table is that of the aggregate, if the relay reads several. Otherwise it is empty.
	Table string
	// Both are empty for all events. An event without an aggregate id has a message group of its
	// own, so no aggregate with an empty id is ever deferred.
	AggregateType, AggregateID string
}

// ofTable separates the table from the type of an aggregate where both are stored as one text, for
// a relay with several tables. The name of a table has it in double quotes alone.
const ofTable = "/"

// storedType returns the type of the aggregate as outbox_deferrals has it: behind the table, if the
// relay reads several.
func (p Place) storedType() string {
	if p.Table == "" {
		return p.AggregateType
	}
	return p.Table + ofTable + p.AggregateType
}

// splitType returns the parts of a text that storedType wrote. key is the name of the tables in the
// relay's own tables. The type of an aggregate of a single table is never divided, whatever it is.
func splitType(key, text string) (table, aggregateType string) {
	if outboxtable.IsOne(key) {
		return "", text
	}
	isQuoted := false
	for i := range len(text) {
		switch {
		case text[i] == '"':
			isQuoted = !isQuoted
		case text[i] == ofTable[0] && !isQuoted:
			return text[:i], text[i+1:]
		}
	}
	return "", text
}

// placeOf returns the place of an event's aggregate at a destination.
func placeOf(destination string, e *outbox.Envelope) Place {
	return Place{destination, tableOf(e), e.AggregateType, e.AggregateID}
}

// tableOf returns the table of an event, if the relay reads several.
func tableOf(e *outbox.Envelope) string {
	if e.Source == nil {
		return ""
	}
	return e.Source.Table
}

// IsGroup reports whether p is one aggregate.
func (p Place) IsGroup() bool { return p.AggregateID != "" }

// String names p in errors.
func (p Place) String() string {
	if p.IsGroup() {
		return "aggregate " + p.storedType() + " " + p.AggregateID + " for " + p.Destination
	}
	return p.Destination
}

// attrs names p in a log line.
func (p Place) attrs() []any {
	if !p.IsGroup() {
		return []any{"destination", p.Destination}
	}
	return []any{"destination", p.Destination, "aggregate", p.storedType() + " " + p.AggregateID}
}

// key returns the key by which a [Gate] finds the deferral of p.
func (p Place) key() key {
	if !p.IsGroup() {
		return key{destination: p.Destination}
	}
	e := outbox.Envelope{AggregateType: p.AggregateType, AggregateID: p.AggregateID}
	if p.Table != "" {
		e.Source = &outbox.Source{Table: p.Table}
	}
	return key{p.Destination, route.Group(&e, nil)}
}

// has reports whether e is an event of the aggregate. All events are, if p is none.
func (p Place) has(e *outbox.Envelope) bool {
	return !p.IsGroup() ||
		e.AggregateID == p.AggregateID && e.AggregateType == p.AggregateType && tableOf(e) == p.Table
}

// mayHave reports whether h may have rows of a table.
func (h *held) mayHave(source *outbox.Source) bool {
	p := h.stored.place()
	if source == nil || !p.IsGroup() {
		return true
	}
	return p.Table == source.Table
}

// key is a destination and a message group of it. The group is empty for all of them.
type key struct{ destination, group string }

func (d Deferral) place() Place { return Place{d.Destination, d.Table, d.AggregateType, d.AggregateID} }
