// Package filter evaluates the filter policies of subscriptions on message attributes.
// https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
package filter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/queue"
)

// Policy is the filter policy of one subscription. The zero Policy passes every message.
type Policy struct{ keys map[string][]condition }

// value is one value of an attribute.
type value struct {
	text    string
	number  float64
	numeric bool
}

// condition reports whether the values of one attribute pass. No values mean that the message lacks
// the attribute.
type condition func(values []value) bool

// Parse parses a filter policy on message attributes.
func Parse(policy string) (Policy, error) {
	var keys map[string][]json.RawMessage
	if err := json.Unmarshal([]byte(policy), &keys); err != nil {
		return Policy{}, fmt.Errorf("every key of a filter policy holds a list of values: %w", err)
	}
	p := Policy{keys: map[string][]condition{}}
	for name, list := range keys {
		if strings.HasPrefix(name, "$") {
			return Policy{}, fmt.Errorf("the operator %s is not supported", name)
		}
		for _, raw := range list {
			c, err := parseCondition(raw)
			if err != nil {
				return Policy{}, fmt.Errorf("key %q: %w", name, err)
			}
			p.keys[name] = append(p.keys[name], c)
		}
	}
	return p, nil
}

// Match reports whether a message with these attributes passes: one condition has to hold for each
// key.
func (p Policy) Match(attributes []queue.Attribute) bool {
	for name, conditions := range p.keys {
		if !anyHolds(conditions, valuesOf(name, attributes)) {
			return false
		}
	}
	return true
}

func anyHolds(conditions []condition, values []value) bool {
	for _, holds := range conditions {
		if holds(values) {
			return true
		}
	}
	return false
}

func valuesOf(name string, attributes []queue.Attribute) []value {
	for i := range attributes {
		a := &attributes[i]
		switch {
		case a.Name != name:
		case a.DataType == "String.Array":
			return arrayValues(a.StringValue)
		case strings.HasPrefix(a.DataType, "Number"):
			number, err := strconv.ParseFloat(a.StringValue, 64)
			return []value{{text: a.StringValue, number: number, numeric: err == nil}}
		case strings.HasPrefix(a.DataType, "String"):
			return []value{{text: a.StringValue}}
		}
	}
	return nil
}

func arrayValues(text string) []value {
	var elements []json.RawMessage
	if json.Unmarshal([]byte(text), &elements) != nil {
		return nil
	}
	values := make([]value, 0, len(elements))
	for _, raw := range elements {
		if v, err := parseValue(raw); err == nil {
			values = append(values, v)
		}
	}
	return values
}

// parseValue reads a string, a number, true, false or null.
func parseValue(raw json.RawMessage) (value, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		return value{}, err
	}
	switch v := decoded.(type) {
	case string:
		return value{text: v}, nil
	case json.Number:
		number, err := v.Float64()
		return value{text: v.String(), number: number, numeric: true}, err
	case map[string]any, []any:
		return value{}, fmt.Errorf("%s is neither a string, a number, true, false nor null", raw)
	}
	return value{text: string(raw)}, nil
}

func (v value) equals(other value) bool {
	if v.numeric || other.numeric {
		return v.numeric && other.numeric && v.number == other.number
	}
	return v.text == other.text
}
