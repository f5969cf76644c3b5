package route

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// pattern is a destination whose name has values of the event, as in
//
//	arn:aws:sns:eu-central-1:123456789012:${topic}.fifo
//
// ${event_type}, ${aggregate_type} and ${aggregate_id} are fields of the event. Any other name, and
// one in double quotes, is a column of the outbox table. Values are in the name of the topic or
// queue alone and have only characters of names. So an event chooses neither the service, nor the
// region, nor the account, nor whether the destination is FIFO.
type pattern struct {
	text  string
	parts []part
}

// part is a literal text, or a value of the event.
type part struct {
	literal string
	value   value
}

type value uint8

const (
	valueNone value = iota // of a literal
	valueEventType
	valueAggregateType
	valueAggregateID
	valueColumn
)

// fieldValues are the fields of the event that a pattern may name.
var fieldValues = map[string]value{
	outbox.AttributeEventType:     valueEventType,
	outbox.AttributeAggregateType: valueAggregateType,
	outbox.AttributeAggregateID:   valueAggregateID,
}

func (v value) of(e *outbox.Envelope) string {
	switch v {
	case valueEventType:
		return e.EventType
	case valueAggregateType:
		return e.AggregateType
	case valueAggregateID:
		return e.AggregateID
	}
	return e.Route
}

// placeholder matches a value in a pattern. A brace in double quotes does not end it.
var placeholder = regexp.MustCompile(`\$\{((?:"[^"]*"|[^}"])*)\}`)

// isPattern reports whether a destination has placeholders, or was meant to have one.
func isPattern(destination string) bool { return strings.Contains(destination, "${") }

// parsePattern reads a pattern. column is the column that it names, or empty.
func parsePattern(text string) (p pattern, column string, err error) {
	p.text = text
	rest := text
	for rest != "" {
		at := placeholder.FindStringSubmatchIndex(rest)
		if at == nil {
			p.parts = append(p.parts, part{literal: rest})
			break
		}
		if at[0] > 0 {
			p.parts = append(p.parts, part{literal: rest[:at[0]]})
		}
		name := strings.TrimSpace(rest[at[2]:at[3]])
		value := fieldValues[name]
		switch {
		case name == "":
			return p, "", errors.New("${} names no column: write ${COLUMN}")
		case value == valueNone && column != "" && column != name:
			return p, "", fmt.Errorf("the pattern reads the columns %s and %s: name one column, beside event_type, "+
				"aggregate_type and aggregate_id", column, name)
		case value == valueNone:
			column, value = name, valueColumn
		}
		p.parts = append(p.parts, part{value: value})
		rest = rest[at[1]:]
	}
	return p, column, p.check()
}

// check returns why no value makes a destination of the pattern, or nil.
func (p *pattern) check() error {
	first := p.parts[0].literal
	if !strings.HasPrefix(first, "arn:") || strings.Count(first, ":") != 5 {
		return errors.New("a value may stand only in the name of a topic or queue, at the end of its ARN: write it " +
			"as in arn:aws:sns:eu-central-1:123456789012:${topic}.fifo")
	}
	var sample strings.Builder
	for _, part := range p.parts {
		if sample.WriteString(part.literal); part.value != valueNone {
			sample.WriteByte('x')
		}
	}
	_, err := sink.ParseDestination(sample.String())
	return err
}

// appendTo appends the ARN that the pattern makes of e to dst. It reports false where a value is
// missing or has a character that no name of a topic or queue has.
func (p *pattern) appendTo(dst []byte, e *outbox.Envelope) (arn []byte, ok bool) {
	for i := range p.parts {
		part := &p.parts[i]
		if part.value == valueNone {
			dst = append(dst, part.literal...)
			continue
		}
		text := part.value.of(e)
		if !isName(text) {
			return dst, false
		}
		dst = append(dst, text...)
	}
	return dst, true
}

// isName reports whether text has only the characters that names of topics and queues have before
// the suffix .fifo.
func isName(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return text != ""
}
