// Package format converts events to CloudEvents 1.0. Its input are the event and the settings of
// its attributes, and its output is the body and the attributes of the message.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
package format

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Format is the format of a message.
type Format uint8

const (
	// Plain is the payload as the body, with the relay's own attributes. This package only names
	// the format, and package route produces it.
	Plain Format = iota
	// Structured is a CloudEvent as a JSON document in the body.
	Structured
	// Binary is a CloudEvent whose data is the body, and whose context is in attributes.
	Binary
)

// formats are the names of formats in settings.
var formats = [...]string{Plain: "plain", Structured: "cloudevents", Binary: "cloudevents-binary"}

// String returns the name of the format in settings.
func (f Format) String() string { return formats[f] }

// Parse returns the format with a name. The error lists the names.
func Parse(text string) (Format, error) {
	if i := slices.Index(formats[:], text); i >= 0 {
		return Format(i), nil //nolint:gosec // an index of formats
	}
	return Plain, fmt.Errorf("%q is no format: write plain, cloudevents or cloudevents-binary", text)
}

// Message is the message of an event in a format.
type Message struct {
	Body string
	// Attributes precede the attributes of headers. For [Structured] they are added to those of
	// the plain format, and for [Binary] they replace them.
	Attributes []Named
	// Problem is the reason why the event cannot be a CloudEvent; empty if it can.
	Problem string
}

// Named is an attribute of a message.
type Named struct{ Name, Value string }

func (m *Message) add(name, value string) { m.Attributes = append(m.Attributes, Named{name, value}) }

// Make makes the message of an event, in a format other than [Plain].
func (c *CloudEvents) Make(f Format, e Event) Message {
	e.mediaType = mediaType(e.Envelope)
	if f == Binary {
		e.Group = "" // the message has its group, and few attributes
	}
	context := c.context(&e)
	for _, a := range context {
		if problem := a.problem(); problem != "" {
			return Message{Problem: fmt.Sprintf("attribute %s of the CloudEvent %s", a.name, problem)}
		}
	}
	if f == Binary {
		return binary(&e, context)
	}
	return c.structured(&e, context)
}

// problem returns why no CloudEvent can have the attribute, or an empty text.
func (a pair) problem() string {
	switch {
	case !isText(a.value):
		return "has a control character"
	case (a.name == source || a.name == dataSchema) && !isReference(a.value):
		return "is no URI"
	}
	return ""
}

// isReference reports whether text is a URI or a relative reference to one.
func isReference(text string) bool {
	_, err := url.Parse(text)
	return err == nil && !strings.ContainsAny(text, " \"<>\\^`{|}")
}

// isText reports whether text can be the value of an attribute: a control character cannot.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#type-system
func isText(text string) bool {
	for _, r := range text {
		if r < ' ' || r >= 0x7F && r <= 0x9F {
			return false
		}
	}
	return true
}
