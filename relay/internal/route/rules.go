package route

import (
	"errors"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// rules map events to numbers. An exact event type takes precedence over an aggregate type, and
// that over the longest prefix of the event type.
type rules struct {
	eventTypes    map[string]int
	aggregates    map[string]int
	prefixes      map[string]int
	prefixLengths []int // of all prefixes, each once, longest first
}

func newRules() rules {
	return rules{eventTypes: map[string]int{}, aggregates: map[string]int{}, prefixes: map[string]int{}}
}

// errNoRule means that a text is not of the form of a rule.
var errNoRule = errors.New("no rule")

// place reads a rule: event:TYPE, event:PREFIX* or aggregate:TYPE. It returns where the number for
// the rule belongs.
func (r *rules) place(rule string) (numbers map[string]int, name string, err error) {
	kind, name, _ := strings.Cut(rule, ":")
	kind, name = strings.TrimSpace(kind), strings.TrimSpace(name)
	prefix, isPrefix := strings.CutSuffix(name, "*")
	switch {
	case kind != "event" && kind != "aggregate" || name == "":
		return nil, "", errNoRule
	case strings.Contains(prefix, "*"), isPrefix && kind == "aggregate":
		return nil, "", errors.New("a * may stand only at the end of an event type")
	case isPrefix:
		return r.prefixes, prefix, nil
	case kind == "aggregate":
		return r.aggregates, name, nil
	}
	return r.eventTypes, name, nil
}

// sort prepares the rules for match.
func (r *rules) sort() {
	for prefix := range r.prefixes {
		if !slices.Contains(r.prefixLengths, len(prefix)) {
			r.prefixLengths = append(r.prefixLengths, len(prefix))
		}
	}
	slices.SortFunc(r.prefixLengths, func(a, b int) int { return b - a })
}

// match returns the number of the most exact rule, or otherwise.
func (r *rules) match(e *outbox.Envelope, otherwise int) int {
	if i, ok := r.eventTypes[e.EventType]; ok {
		return i
	}
	if i, ok := r.aggregates[e.AggregateType]; ok {
		return i
	}
	for _, length := range r.prefixLengths {
		if length > len(e.EventType) {
			continue
		}
		if i, ok := r.prefixes[e.EventType[:length]]; ok {
			return i
		}
	}
	return otherwise
}

// entries returns the entries of a setting, each ended by a semicolon or a line break.
func entries(setting string) (all []string) {
	for entry := range strings.FieldsFuncSeq(setting, func(c rune) bool { return c == ';' || c == '\n' || c == '\r' }) {
		if entry = strings.TrimSpace(entry); entry != "" {
			all = append(all, entry)
		}
	}
	return all
}
