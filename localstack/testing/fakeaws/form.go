package fakeaws

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// form is the body of a request in the Query protocol.
type form struct{ text string }

// each calls do with every decoded pair of the form. It returns an error for a pair that cannot be
// decoded.
func (f form) each(do func(name, value string) error) error {
	for pair := range strings.SplitSeq(f.text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := unescape(name)
		if err != nil {
			return err
		}
		if value, err = unescape(value); err != nil {
			return err
		}
		if err := do(name, value); err != nil {
			return err
		}
	}
	return nil
}

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	return url.QueryUnescape(s)
}

// get returns the value of a parameter, or an empty string.
func (f form) get(parameter string) string {
	for pair := range strings.SplitSeq(f.text, "&") {
		if name, value, _ := strings.Cut(pair, "="); name == parameter {
			value, _ = unescape(value) // a value that cannot be decoded counts as missing
			return value
		}
	}
	return ""
}

// entries returns the map in parameter.entry.N.key and parameter.entry.N.value.
func (f form) entries(parameter string) map[string]string {
	keys, values := map[string]string{}, map[string]string{}
	_ = f.each(func(name, value string) error {
		rest, ok := strings.CutPrefix(name, parameter+".entry.")
		number, field, _ := strings.Cut(rest, ".")
		switch {
		case ok && field == "key":
			keys[number] = value
		case ok && field == "value":
			values[number] = value
		}
		return nil
	})
	entries := make(map[string]string, len(keys))
	for number, key := range keys {
		entries[key] = values[number]
	}
	return entries
}

// numbered finds the element of a list by its number in the form. Clients send the elements in any
// order: the SDK for Go sorts its parameters, so that element 10 follows element 1.
type numbered[T any] struct {
	numbers  []int
	elements []T
}

func (n *numbered[T]) at(number int) *T {
	if n.numbers == nil {
		n.numbers, n.elements = make([]int, 0, 10), make([]T, 0, 10)
	}
	i := slices.Index(n.numbers, number)
	if i < 0 {
		i = len(n.numbers)
		n.numbers = append(n.numbers, number)
		var zero T
		n.elements = append(n.elements, zero)
	}
	return &n.elements[i]
}

// sorted returns the elements in the order of their numbers.
func (n *numbered[T]) sorted() []T {
	if slices.IsSorted(n.numbers) {
		return n.elements
	}
	order := slices.Sorted(slices.Values(n.numbers))
	elements := make([]T, len(order))
	for i, number := range order {
		elements[i] = *n.at(number)
	}
	return elements
}

// publishEntry is a partly decoded entry.
type publishEntry struct {
	entry
	attributes numbered[Attribute]
}

// decodePublish reads a Publish or PublishBatch.
func decodePublish(f form, single bool) (*batch, error) {
	b := &batch{single: single}
	var entries numbered[publishEntry]
	err := f.each(func(name, value string) error {
		switch rest, listed := strings.CutPrefix(name, "PublishBatchRequestEntries.member."); {
		case name == "TopicArn", name == "TargetArn" && b.target == "":
			b.target = value
		case single:
			return entries.at(1).set(name, value)
		case listed:
			text, field, _ := strings.Cut(rest, ".")
			number, err := strconv.Atoi(text)
			if err != nil {
				return snsError("MalformedQueryString", "%s has no number", name)
			}
			return entries.at(number).set(field, value)
		}
		return nil
	})
	sorted := entries.sorted()
	b.entries = make([]entry, len(sorted))
	for i := range sorted {
		b.entries[i] = sorted[i].entry
		b.entries[i].message.Attributes = sorted[i].attributes.sorted()
	}
	return b, err
}

func (e *publishEntry) set(field, value string) error {
	switch field {
	case "Id":
		e.id = value
	case "Message":
		e.message.Body = value
	case "Subject":
		e.message.Subject = value
	case "MessageStructure":
		e.structure = value
	case "MessageGroupId":
		e.hasGroup, e.message.GroupID = true, value
	case "MessageDeduplicationId":
		e.hasDedup, e.message.DeduplicationID = true, value
	default:
		return e.setAttribute(field, value)
	}
	return nil
}

// setAttribute decodes MessageAttributes.entry.N.Name or .Value.DataType, .Value.StringValue,
// .Value.BinaryValue. It ignores other parameters.
func (e *publishEntry) setAttribute(field, value string) error {
	rest, ok := strings.CutPrefix(field, "MessageAttributes.entry.")
	if !ok {
		return nil
	}
	text, field, _ := strings.Cut(rest, ".")
	number, err := strconv.Atoi(text)
	if err != nil {
		return snsError("MalformedQueryString", "%s has no number", field)
	}
	a := e.attributes.at(number)
	switch field {
	case "Name":
		a.Name = value
	case "Value.DataType":
		a.DataType = value
	case "Value.StringValue":
		a.StringValue = value
	case "Value.BinaryValue":
		a.BinaryValue, err = base64.StdEncoding.DecodeString(value)
	}
	return err
}
