// Package pattern evaluates the event patterns of EventBridge rules, as far as tests use them:
// exact values, prefix and exists.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
package pattern

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Pattern is the pattern of one rule. Each member of it has to match.
type Pattern struct {
	members map[string]Pattern
	values  []condition // of a leaf, one of which has to hold
}

// condition reports whether the values of a field match. An absent field has none.
type condition func(values []any) bool

// Parse reads a pattern.
func Parse(text string) (Pattern, error) {
	var members map[string]any
	if err := decode([]byte(text), &members); err != nil {
		return Pattern{}, fmt.Errorf("a pattern is an object: %w", err)
	}
	return parseObject(members)
}

func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

func parseObject(members map[string]any) (p Pattern, err error) {
	if len(members) == 0 {
		return p, errors.New("an object of a pattern has no member")
	}
	p.members = map[string]Pattern{}
	for name, value := range members {
		switch value := value.(type) {
		case map[string]any:
			p.members[name], err = parseObject(value)
		case []any:
			p.members[name], err = parseValues(value)
		default:
			err = fmt.Errorf("%s is neither an object nor an array", name)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func parseValues(values []any) (p Pattern, err error) {
	for _, value := range values {
		holds := anyOf(func(found any) bool { return found == value })
		if operator, isOperator := value.(map[string]any); isOperator {
			if holds, err = parseOperator(operator); err != nil {
				return p, err
			}
		}
		p.values = append(p.values, holds)
	}
	return p, nil
}

func parseOperator(operator map[string]any) (condition, error) {
	if prefix, ok := operator["prefix"].(string); ok {
		return anyOf(func(found any) bool {
			text, isText := found.(string)
			return isText && strings.HasPrefix(text, prefix)
		}), nil
	}
	if exists, ok := operator["exists"].(bool); ok {
		return func(values []any) bool { return exists == (len(values) > 0) }, nil
	}
	return nil, fmt.Errorf("the operator %v is not supported", operator)
}

func anyOf(matches func(any) bool) condition {
	return func(values []any) bool {
		for _, value := range values {
			if matches(value) {
				return true
			}
		}
		return false
	}
}

// Match reports whether an event matches.
func (p Pattern) Match(event []byte) bool {
	var members map[string]any
	return decode(event, &members) == nil && p.match(members)
}

func (p Pattern) match(value any) bool {
	if p.members == nil {
		return p.matchLeaf(value)
	}
	members, _ := value.(map[string]any)
	for name, member := range p.members {
		if !member.match(members[name]) {
			return false
		}
	}
	return true
}

func (p Pattern) matchLeaf(value any) bool {
	values, isArray := value.([]any)
	if !isArray && value != nil {
		values = []any{value}
	}
	for _, holds := range p.values {
		if holds(values) {
			return true
		}
	}
	return false
}
