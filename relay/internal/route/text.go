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
			text.WriteString("\n" + kind + ":" + name + end + "=" + destinations[rules[name]])
		}
	}
	write("aggregate", r.aggregates, "")
	write("event", r.eventTypes, "")
	write("event", r.prefixes, "*")
	return text.String()
}

// ParseText reads the result of [Router.Text]. The Router only routes.
func ParseText(text string) (*Router, error) {
	destination, routes, _ := strings.Cut(text, "\n")
	return Parse(Settings{Destination: destination, Routes: routes})
}
