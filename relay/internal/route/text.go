package route

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Text writes the routes down. destinations are the names that it uses, in the order of
// [Router.Destinations]. Equal routes have equal texts.
func (r *Router) Text(destinations []string) string {
	var text strings.Builder
	text.WriteString(destinations[0])
	write := func(kind string, rules map[string]int, end string) {
		for _, name := range slices.Sorted(maps.Keys(rules)) {
			text.WriteString("\n" + kind + ":" + name + end + "=" + r.target(rules[name], destinations))
		}
	}
	write("aggregate", r.aggregates, "")
	write("event", r.eventTypes, "")
	write("event", r.prefixes, "*")
	if len(r.patterns) > 0 {
		text.WriteString("\n" + textUnknown + r.unknown + "\n" + textAllowed)
		for _, arn := range slices.Sorted(maps.Keys(r.allowed)) {
			text.WriteString(arn + " ")
		}
	}
	if r.filter != "" {
		text.WriteString("\n" + textFilter + strconv.Quote(r.filter))
	}
	return text.String()
}

// Lines of the text with the settings of patterns, and with the row filter of the publication.
// Everything that decides where an event goes, and which rows are events, is in the text.
const textUnknown, textAllowed, textFilter = "unknown=", "allowed=", "filter="

// WithFilter returns the routes for a publication with this row filter.
func (r *Router) WithFilter(filter string) *Router {
	filtered := *r
	filtered.filter = filter
	return &filtered
}

// Filter returns the row filter of the publication; empty without one.
func (r *Router) Filter() string { return r.filter }

// target returns the destination, pattern or none to which a rule leads.
func (r *Router) target(rule int, destinations []string) string {
	switch {
	case rule == Dropped:
		return nowhere
	case isPatternRule(rule):
		return r.patterns[patternOf(rule)].text
	}
	return destinations[rule]
}

// Drops returns the rules of the routes that drop events, as the settings have them.
func (r *Router) Drops() (rules []string) {
	for _, kind := range []struct {
		name, end string
		rules     map[string]int
	}{{"event:", "", r.eventTypes}, {"aggregate:", "", r.aggregates}, {"event:", "*", r.prefixes}} {
		for _, name := range slices.Sorted(maps.Keys(kind.rules)) {
			if kind.rules[name] == Dropped {
				rules = append(rules, kind.name+name+kind.end)
			}
		}
	}
	return rules
}

// ParseText reads the result of [Router.Text]. The Router only routes.
func ParseText(text string) (*Router, error) {
	destination, rest, _ := strings.Cut(text, "\n")
	s, filter := Settings{Destination: destination}, ""
	for line := range strings.SplitSeq(rest, "\n") {
		name, value, _ := strings.Cut(line, "=")
		switch name + "=" {
		case textUnknown:
			s.Unknown = value
		case textAllowed:
			s.Allowed = value
		case textFilter:
			var err error
			if filter, err = strconv.Unquote(value); err != nil {
				return nil, fmt.Errorf("row filter %s: %w", value, err)
			}
		default:
			s.Routes += line + "\n"
		}
	}
	r, err := Parse(s)
	if err != nil {
		return nil, err
	}
	return r.WithFilter(filter), nil
}
