package format

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unsafe"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Event is a row, and the fields that the relay has derived from it.
type Event struct {
	*outbox.Envelope
	Time string // RFC 3339; empty if the row has none
	// Group is the message group of the events that have an order; empty for an event without one.
	Group string
	// TraceParent and TraceState are the headers of these names.
	TraceParent, TraceState string

	mediaType string // of the payload
}

// pair is one attribute of the context.
type pair struct{ name, value string }

// first and last are the attributes that have a default. The order is first, then the attributes
// without a default, then last. A message in binary mode drops those at the end if it has too many.
// The attributes by which a consumer recognises an event and its aggregate stand before the media
// type, so that a message keeps them also with the three attributes of a large event in base64 that
// is replayed.
var first, last = []string{specVersion, id, source, eventType, subject, sequence, aggregateType, contentType},
	[]string{timestamp, partitionKey}

// context returns the attributes of the context. It skips empty ones.
func (c *CloudEvents) context(e *Event) []pair {
	all := make([]pair, 0, len(first)+len(c.further)+len(last)+2)
	add := func(name, value string) {
		if value != "" {
			all = append(all, pair{name, value})
		}
	}
	for _, name := range first {
		add(name, c.value(name, e))
	}
	for _, a := range c.further {
		add(a.Name, a.of(e.Envelope))
	}
	for _, name := range last {
		add(name, c.value(name, e))
	}
	return all
}

// value returns the value of an attribute that has a default. The settings take precedence, unless
// their column is empty.
func (c *CloudEvents) value(name string, e *Event) string {
	a, changed := c.changed[name]
	if changed && a.isDropped() {
		return ""
	}
	if changed {
		if value := a.of(e.Envelope); value != "" {
			return value
		}
	}
	return c.standard(name, e)
}

// standard returns the default of an attribute.
func (c *CloudEvents) standard(name string, e *Event) string {
	switch name {
	case specVersion:
		return "1.0"
	case id:
		return e.ID
	case source:
		if e.Source != nil {
			return sourceOf(e.Source.Schema, e.Source.Name)
		}
		return c.source
	case eventType:
		switch {
		case e.EventType != "":
			return e.EventType
		case e.Source != nil:
			return e.Source.Schema + "." + e.Source.Name
		}
		return c.eventType
	case contentType:
		return e.mediaType
	case timestamp:
		return e.Time
	case subject:
		return e.AggregateID
	case sequence:
		return sortable(e.Sequence)
	case aggregateType:
		return e.AggregateType
	case partitionKey:
		return e.Group
	}
	return ""
}

const typeJSON = "application/json"

// mediaType returns the media type of a payload.
func mediaType(e *outbox.Envelope) string {
	switch {
	case e.Payload == "":
		return ""
	case e.Base64:
		return "application/octet-stream"
	// json.Valid only reads, and a payload may have ten MiB: no copy
	case json.Valid(unsafe.Slice(unsafe.StringData(e.Payload), len(e.Payload))): //nolint:gosec // reads only
		return typeJSON
	}
	return "text/plain; charset=utf-8"
}

// sortable pads a sequence with zeros to the 19 digits of the largest bigint, so that texts sort as
// the numbers do. Rows that existed before the column have numbers below zero, which count from the
// lowest bigint.
// https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/sequence.md
func sortable(sequence string) string {
	n, err := strconv.ParseInt(sequence, 10, 64)
	switch {
	case err != nil:
		return sequence // empty, or no bigint
	case n < 0:
		return fmt.Sprintf("-%019d", n-math.MinInt64)
	}
	return fmt.Sprintf("%019d", n)
}
