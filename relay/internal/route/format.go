package route

import (
	"errors"
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/format"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const (
	// SettingFormat and SettingCloudEvents are settings of the format of messages.
	SettingFormat      = "RELAY_FORMAT"
	SettingCloudEvents = "RELAY_CLOUDEVENTS_ATTRIBUTES"
)

// formats are the formats of messages, where some have another one than the plain one.
type formats struct {
	rules     // to formats
	otherwise format.Format
	events    *format.CloudEvents
	headers   Headers // of messages that are CloudEvents
}

// parseFormats reads the setting RELAY_FORMAT: the format of all messages, and entries for some of
// them, each ended by a semicolon or a line break, with the rules of [Settings.Routes]:
//
//	cloudevents; event:billing.*=plain; aggregate:customer=cloudevents-binary
//
// It returns nil if every message has the plain format. The error names every problem.
func parseFormats(s Settings) (*formats, error) {
	events, err := format.New(s.Schema, s.Table, s.CloudEvents)
	if err != nil {
		err = fmt.Errorf("%s: %w", SettingCloudEvents, err)
	}
	f := &formats{rules: newRules(), events: events}
	problems := []error{err}
	for i, entry := range entries(s.Format) {
		if err := f.parse(entry, i == 0); err != nil {
			problems = append(problems, fmt.Errorf("%s: entry %q: %w", SettingFormat, entry, err))
		}
	}
	f.sort()
	if f.otherwise == format.Plain && len(f.eventTypes)+len(f.aggregates)+len(f.prefixes) == 0 {
		f = nil
	}
	return f, errors.Join(problems...)
}

func (f *formats) parse(entry string, isFirst bool) (err error) {
	rule, name, isRule := strings.Cut(entry, "=")
	if !isRule && isFirst {
		f.otherwise, err = format.Parse(entry)
		return err
	}
	numbers, key, err := f.place(rule)
	if errors.Is(err, errNoRule) || err == nil && !isRule {
		return errors.New("write event:TYPE=FORMAT, event:PREFIX*=FORMAT or aggregate:TYPE=FORMAT")
	}
	if err != nil {
		return err
	}
	if _, twice := numbers[key]; twice {
		return errors.New("an entry before it has the same rule: keep one of them")
	}
	made, err := format.Parse(strings.TrimSpace(name))
	numbers[key] = int(made)
	return err
}

// reserve keeps headers, columns and renamed attributes from the names of CloudEvents.
func (f *formats) reserve(headers Headers, own ownNames, columns []outboxtable.Attribute) error {
	if f == nil {
		return nil
	}
	f.headers = headers
	f.headers.cloudEvents = true
	names := own.list()
	for _, column := range columns {
		names = append(names, column.Name)
	}
	var problems []error
	for _, name := range names {
		if isOfCloudEvents(name) {
			problems = append(problems, fmt.Errorf("%s: attribute %q has a name that CloudEvents use: choose another "+
				"one in %s or %s", SettingFormat, name, SettingAttributeNames, SettingAttributeColumns))
		}
	}
	return errors.Join(problems...)
}

// isOfCloudEvents reports whether an attribute of a CloudEvent may have this name. HTTP does not
// distinguish case.
func isOfCloudEvents(name string) bool {
	const prefix = outbox.CloudEventPrefix
	return strings.EqualFold(name, outbox.AttributeContentType) ||
		len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// of returns the format of the message of e.
func (f *formats) of(e *outbox.Envelope) format.Format {
	if f == nil {
		return format.Plain
	}
	return format.Format(f.match(e, int(f.otherwise))) //nolint:gosec // a format
}

// cloudEvent makes m the message of e as a CloudEvent. It returns the number of dropped headers,
// and why the event cannot be one.
func (r *Router) cloudEvent(made format.Format, e *outbox.Envelope, occurredAt string,
	m *sink.Message,
) (dropped int, problem string) {
	event := format.Event{Envelope: e, Time: occurredAt}
	if hasOrder(e, r.orderKey) {
		event.Group = m.GroupID
	}
	event.TraceParent, event.TraceState = traceOf(e.Headers)
	message := r.formats.events.Make(made, event)
	if message.Problem != "" {
		return 0, message.Problem
	}
	m.Body = message.Body
	if made == format.Structured {
		m.Attributes = r.appendOwn(m.Attributes, e, occurredAt)
	}
	for _, a := range message.Attributes {
		m.Attributes = append(m.Attributes, sink.Attribute{Name: a.Name, Value: a.Value})
	}
	m.Own = len(m.Attributes)
	m.Attributes, dropped = r.appendFurther(m.Attributes, 0, e, &r.formats.headers)
	return dropped, ""
}

// traceOf returns the headers of W3C Trace Context.
// https://www.w3.org/TR/trace-context/
func traceOf(text string) (parent, state string) {
	var space [8]header
	headers, _ := readHeaders(space[:0], text)
	for _, h := range headers {
		switch h.name {
		case outbox.AttributeTraceparent:
			parent = h.value
		case "tracestate":
			state = h.value
		}
	}
	return parent, state
}
