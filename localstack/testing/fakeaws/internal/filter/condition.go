package filter

import (
	"encoding/json"
	"fmt"
	"strings"
)

// oneOf holds if a value of the attribute passes.
func oneOf(pass func(value) bool) condition {
	return func(values []value) bool {
		for _, v := range values {
			if pass(v) {
				return true
			}
		}
		return false
	}
}

func parseCondition(raw json.RawMessage) (condition, error) {
	if raw[0] != '{' {
		want, err := parseValue(raw)
		return oneOf(want.equals), err
	}
	name, operand, err := operator(raw)
	if err != nil {
		return nil, err
	}
	switch name {
	case "exists":
		return parseExists(operand)
	case "anything-but":
		return parseAnythingBut(operand)
	case "numeric":
		return parseNumeric(operand)
	}
	pass, err := parseText(name, operand)
	return oneOf(pass), err
}

// operator splits an object with one member.
func operator(raw json.RawMessage) (name string, operand json.RawMessage, err error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return "", nil, err
	}
	if len(object) != 1 {
		return "", nil, fmt.Errorf("%s is not one operator", raw)
	}
	for name, operand = range object {
	}
	return name, operand, nil
}

func parseText(name string, operand json.RawMessage) (func(value) bool, error) {
	var want string
	if err := json.Unmarshal(operand, &want); err != nil {
		return nil, fmt.Errorf("operator %s: %w", name, err)
	}
	switch name {
	case "prefix":
		return func(v value) bool { return !v.numeric && strings.HasPrefix(v.text, want) }, nil
	case "suffix":
		return func(v value) bool { return !v.numeric && strings.HasSuffix(v.text, want) }, nil
	case "equals-ignore-case":
		return func(v value) bool { return !v.numeric && strings.EqualFold(v.text, want) }, nil
	}
	return nil, fmt.Errorf("the operator %s is not supported", name)
}

func parseExists(operand json.RawMessage) (condition, error) {
	var want bool
	if err := json.Unmarshal(operand, &want); err != nil {
		return nil, fmt.Errorf("operator exists: %w", err)
	}
	return func(values []value) bool { return want == (len(values) > 0) }, nil
}

func parseAnythingBut(operand json.RawMessage) (condition, error) {
	if operand[0] == '{' {
		name, text, err := operator(operand)
		if err != nil {
			return nil, err
		}
		excluded, err := parseText(name, text)
		return oneOf(func(v value) bool { return !excluded(v) }), err
	}
	list := []json.RawMessage{operand}
	if operand[0] == '[' {
		if err := json.Unmarshal(operand, &list); err != nil {
			return nil, err
		}
	}
	excluded := make([]value, len(list))
	for i, raw := range list {
		var err error
		if excluded[i], err = parseValue(raw); err != nil {
			return nil, fmt.Errorf("operator anything-but: %w", err)
		}
	}
	return oneOf(func(v value) bool { return !oneOf(v.equals)(excluded) }), nil
}

// parseNumeric parses pairs of a comparison and a number, which all have to hold.
func parseNumeric(operand json.RawMessage) (condition, error) {
	var list []any
	if err := json.Unmarshal(operand, &list); err != nil || len(list) == 0 || len(list)%2 != 0 {
		return nil, fmt.Errorf("operator numeric wants pairs of a comparison and a number, not %s", operand)
	}
	var comparisons []func(float64) bool
	for i := 0; i < len(list); i += 2 {
		compare, err := parseComparison(list[i], list[i+1])
		if err != nil {
			return nil, err
		}
		comparisons = append(comparisons, compare)
	}
	return oneOf(func(v value) bool {
		for _, holds := range comparisons {
			if !v.numeric || !holds(v.number) {
				return false
			}
		}
		return true
	}), nil
}

func parseComparison(sign, bound any) (func(float64) bool, error) {
	n, ok := bound.(float64)
	if !ok {
		return nil, fmt.Errorf("operator numeric compares with a number, not with %v", bound)
	}
	switch sign {
	case "=":
		return func(f float64) bool { return f == n }, nil
	case "<":
		return func(f float64) bool { return f < n }, nil
	case "<=":
		return func(f float64) bool { return f <= n }, nil
	case ">":
		return func(f float64) bool { return f > n }, nil
	case ">=":
		return func(f float64) bool { return f >= n }, nil
	}
	return nil, fmt.Errorf("operator numeric knows =, <, <=, > and >=, not %v", sign)
}
