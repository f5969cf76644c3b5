package format

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Names of the attributes that have a default, and of those that come from headers.
const (
	specVersion   = "specversion"
	id            = "id"
	source        = "source"
	eventType     = "type"
	contentType   = "datacontenttype"
	dataSchema    = "dataschema"
	timestamp     = "time"
	subject       = "subject"
	sequence      = "sequence"
	aggregateType = "aggregatetype"
	partitionKey  = "partitionkey"
	traceParent   = "traceparent"
	traceState    = "tracestate"
)

// Attribute says where an attribute of CloudEvents comes from, in place of its default.
type Attribute struct {
	Name   string
	Text   string // of every event; empty if it comes from a column
	Column int    // index in [outbox.Envelope.Extra], or -1. Without text and column the attribute is dropped
}

func (a Attribute) isDropped() bool { return a.Text == "" && a.Column < 0 }

func (a Attribute) of(e *outbox.Envelope) string {
	if a.Column >= 0 {
		return e.Extra[a.Column]
	}
	return a.Text
}

// CloudEvents makes CloudEvents of the events of one outbox table. It is immutable.
type CloudEvents struct {
	source    string // the default
	eventType string // the default of an event without a type
	changed   map[string]Attribute
	further   []Attribute // those without a default
}

// sourceOf returns the default source of the events of a table.
func sourceOf(schema, table string) string { return "/" + url.PathEscape(schema+"."+table) }

// New returns the CloudEvents of a table. The error names every invalid attribute.
func New(schema, table string, attributes []Attribute) (*CloudEvents, error) {
	c := &CloudEvents{
		source: sourceOf(schema, table), eventType: schema + "." + table, changed: map[string]Attribute{},
	}
	var problems []error
	for _, a := range attributes {
		if err := c.change(a); err != nil {
			problems = append(problems, fmt.Errorf("%q: %w", a.Name, err))
		}
	}
	return c, errors.Join(problems...)
}

func (c *CloudEvents) change(a Attribute) error {
	_, twice := c.changed[a.Name]
	switch {
	case twice:
		return errors.New("it is listed twice: remove one of the two")
	case a.Name == specVersion, a.Name == id:
		return errors.New("the relay sets it: remove it from the list")
	case !isName(a.Name):
		return fmt.Errorf("it cannot be the name of an attribute: write 1 to %d lower-case letters and digits, and "+
			"not data", maxName)
	case a.isDropped() && (a.Name == source || a.Name == eventType):
		return errors.New("every CloudEvent has it: name a column or a text")
	}
	if problem := (pair{a.Name, a.Text}).problem(); problem != "" {
		return fmt.Errorf("its text %s", problem)
	}
	c.changed[a.Name] = a
	if !a.isDropped() && !slices.Contains(first, a.Name) && !slices.Contains(last, a.Name) {
		c.further = append(c.further, a)
	}
	return nil
}

// maxName is the longest name of an attribute that the specification recommends.
const maxName = 20

// isName reports whether text can be the name of an attribute.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#naming-conventions
func isName(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return text != "" && text != "data" && len(text) <= maxName
}
