package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const (
	// SettingAttributeNames and SettingAttributeColumns are settings of the attributes.
	SettingAttributeNames   = "RELAY_ATTRIBUTE_NAMES"
	SettingAttributeColumns = "RELAY_ATTRIBUTE_COLUMNS"

	// dropOwn is the name of an attribute that is not sent.
	dropOwn = "none"
)

// ownNames are the names of the relay's own attributes in messages. An empty name drops the
// attribute.
type ownNames struct {
	eventID, eventType, aggregateType, aggregateID, occurredAt, sequence, payloadEncoding, table string
}

var defaultNames = ownNames{
	eventID: outbox.AttributeEventID, eventType: outbox.AttributeEventType,
	aggregateType: outbox.AttributeAggregateType, aggregateID: outbox.AttributeAggregateID,
	occurredAt: outbox.AttributeOccurredAt, sequence: outbox.AttributeSequence,
	payloadEncoding: outbox.AttributePayloadEncoding,
}

// of returns the name of an attribute, by its default name, or nil.
func (n *ownNames) of(attribute string) *string {
	for _, name := range n.all() {
		if *name == attribute {
			return name
		}
	}
	return nil
}

func (n *ownNames) all() []*string {
	return []*string{
		&n.eventID, &n.eventType, &n.aggregateType, &n.aggregateID, &n.occurredAt, &n.sequence, &n.payloadEncoding,
		&n.table,
	}
}

// parseOwnNames reads RELAY_ATTRIBUTE_NAMES: entries such as event_id=id or sequence=none,
// separated by commas. The error names every problem.
//
// Only a relay with several tables names the table of an event.
func parseOwnNames(setting string, several bool) (ownNames, error) {
	names, changed := defaultNames, map[string]string{}
	if several {
		names.table = outbox.AttributeTable
	}
	var problems []error
	for entry := range strings.SplitSeq(setting, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		attribute, name, _ := strings.Cut(entry, "=")
		attribute, name = strings.TrimSpace(attribute), strings.TrimSpace(name)
		_, twice := changed[attribute]
		var err error
		switch {
		case names.of(attribute) == nil:
			err = errors.New("write ATTRIBUTE=NAME, where ATTRIBUTE is one of the relay's own, as in event_id=id, or " +
				"ATTRIBUTE=none, which drops it")
		case twice:
			err = errors.New("it is listed twice: take one off the list")
		case !outbox.ValidAttributeName(name), name == outbox.AttributeTraceparent, name == outbox.AttributeReplay:
			err = fmt.Errorf("%q cannot be its name", name)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %q: %w", SettingAttributeNames, entry, err))
			continue
		}
		changed[attribute] = name
	}
	named := names
	for attribute, name := range changed {
		if name == dropOwn {
			name = ""
		}
		*targetOf(&named, attribute) = name
	}
	return named, errors.Join(append(problems, named.repeated())...)
}

// targetOf returns the field of an attribute, by its default name.
func targetOf(n *ownNames, attribute string) *string {
	defaults := defaultNames
	defaults.table = outbox.AttributeTable
	for i, name := range defaults.all() {
		if *name == attribute {
			return n.all()[i]
		}
	}
	return nil
}

// repeated returns an error if two attributes have one name.
func (n *ownNames) repeated() error {
	var seen []string
	for _, name := range n.all() {
		if *name != "" && slices.Contains(seen, *name) {
			return fmt.Errorf("%s: two attributes have the name %q", SettingAttributeNames, *name)
		}
		seen = append(seen, *name)
	}
	return nil
}

// list returns the names that no header may have.
func (n *ownNames) list() []string {
	names := []string{outbox.AttributeReplay}
	for _, name := range n.all() {
		if *name != "" {
			names = append(names, *name)
		}
	}
	return names
}

// checkColumns returns every problem of the columns' names.
func checkColumns(columns []outboxtable.Attribute, own ownNames) error {
	var problems []error
	names := append(own.list(), outbox.AttributeTraceparent)
	if room := outbox.MaxAttributes - len(names) + 2; len(columns) > room { // no first delivery has a replay
		problems = append(problems, fmt.Errorf("%s names %d columns, and a message has room for %d: drop attributes "+
			"of the relay's own with %s", SettingAttributeColumns, len(columns), room, SettingAttributeNames))
	}
	for _, column := range columns {
		if slices.Contains(names, column.Name) {
			problems = append(problems, fmt.Errorf("%s: %q is the name of another attribute: choose another one, or "+
				"change %s", SettingAttributeColumns, column.Name, SettingAttributeNames))
		}
		names = append(names, column.Name)
	}
	return errors.Join(problems...)
}

// appendColumns appends the attributes from columns to those of a message, which begin at start. A
// value that no message can hold, or for which there is no room, is dropped.
func (r *Router) appendColumns(dst []sink.Attribute, start int,
	e *outbox.Envelope,
) (attributes []sink.Attribute, dropped int) {
	for _, column := range r.columns {
		value := e.Extra[column.Index]
		if !outbox.ValidText(value) || len(dst)-start == outbox.MaxAttributes && value != "" {
			dropped++
			continue
		}
		dst = appendNotEmpty(dst, column.Name, sink.String, value)
	}
	return dst, dropped
}

// ownAttributes returns the number of attributes at the beginning of m that are never dropped. The
// dead letter of an earlier version does not say it.
func ownAttributes(m *sink.Message) int {
	own := m.Own
	for own < len(m.Attributes) && m.Own == 0 && isOwn(m.Attributes[own].Name) {
		own++
	}
	return own
}
