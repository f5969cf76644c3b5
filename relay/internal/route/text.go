package route

import (
	"maps"
	"slices"
	"strings"
)

// Text writes the routes down. destinations are the names that it uses, in the order of
// [Router.Destinations]. Equal routes have equal texts.
func (r *Router) Text(destinations []string) string {
	var text strings.Builder
	text.WriteString(destinations[0])
	write := func(kind string, rules map[string]int, end string) {
		for _, name := range slices.Sorted(maps.Keys(rules)) {
			destination := nowhere
			if rules[name] != Dropped {
				destination = destinations[rules[name]]
			}
			text.WriteString("\n" + kind + ":" + name + end + "=" + destination)
		}
	}
	write("aggregate", r.aggregates, "")
	write("event", r.eventTypes, "")
	write("event", r.prefixes, "*")
	return text.String()
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
	destination, routes, _ := strings.Cut(text, "\n")
	return Parse(Settings{Destination: destination, Routes: routes})
}
