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

// first are the attributes with a default that come before those without one, and last those after
// them: a message in binary mode that has too many drops the last ones.
var first, last = []string{specVersion, id, source, eventType, contentType, timestamp, subject, sequence},
	[]string{aggregateType, partitionKey}

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

// value returns an attribute that has a default: that of the settings, or the default where they
// have none or the column is empty.
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

// sortable returns a sequence as a text that sorts as the numbers do, with the 19 digits of the
// largest bigint. A number below zero, which rows have that were numbered afterwards, counts from
// the lowest one.
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
