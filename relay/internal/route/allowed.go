package route

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

func (r *Router) addPattern(rules map[string]int, name, text string) error {
	p, column, err := parsePattern(text)
	switch {
	case err != nil:
		return err
	case column != "" && r.column != "" && column != r.column:
		return fmt.Errorf("it reads column %s, and a pattern before it reads column %s: name one column in all "+
			"patterns", column, r.column)
	}
	r.column = cmp.Or(column, r.column)
	rules[name] = ruleOf(len(r.patterns))
	r.patterns = append(r.patterns, p)
	return nil
}

// allow adds the destinations that patterns may lead to. Each gets a number here, and not when an
// event is seen: the number, and with it the order of events, depends on the settings alone.
func (r *Router) allow(s Settings) (problems []error) {
	r.named = len(r.destinations)
	arns, err := parseAllowed(s.Allowed)
	switch {
	case err != nil:
		return []error{err}
	case len(r.patterns) > 0 && len(arns) == 0:
		return []error{fmt.Errorf("%s has a pattern, and %s is empty: list the ARNs that the pattern may lead to",
			SettingRoutes, SettingAllowed)}
	case len(r.patterns) == 0 && len(arns) > 0:
		return []error{fmt.Errorf("%s is set, and no route of %s is a pattern such as "+
			"event:*=arn:aws:sns:eu-central-1:123456789012:${topic}: remove it, or add the pattern", SettingAllowed,
			SettingRoutes)}
	}
	for _, arn := range arns {
		r.allowed[arn] = r.indexOf(arn)
	}
	if n := len(r.destinations) - r.named; s.Max > 0 && n > s.Max {
		problems = append(problems, fmt.Errorf("%s has %d destinations, and %s is %d: raise it, or shorten the list",
			SettingAllowed, n, SettingMax, s.Max))
	}
	if r.unknown != unknownParks && r.unknown != unknownDefaults {
		problems = append(problems, fmt.Errorf("%s: %q: write park or default", SettingUnknown, r.unknown))
	}
	return problems
}

// parseAllowed reads the setting RELAY_ALLOWED_DESTINATIONS: ARNs, separated by white space or
// semicolons. Braces in a name stand for each of their words, as in {orders,customers}.fifo. The
// error names every problem.
func parseAllowed(setting string) (arns []string, err error) {
	var problems []error
	separates := func(c rune) bool { return c == ';' || c == ' ' || c == '\t' || c == '\n' || c == '\r' }
	for entry := range strings.FieldsFuncSeq(setting, separates) {
		for _, arn := range expand(entry) {
			destination, err := sink.ParseDestination(arn)
			if err == nil && destination.ARN == "" {
				err = errors.New("name the queue by its ARN: it names the queue in dead letters before it is opened")
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: entry %q: %w", SettingAllowed, entry, err))
				break
			}
			arns = append(arns, arn)
		}
	}
	return arns, errors.Join(problems...)
}

// expand returns the texts that the first braces of entry stand for, or entry itself.
func expand(entry string) (all []string) {
	before, rest, opened := strings.Cut(entry, "{")
	words, after, closed := strings.Cut(rest, "}")
	if !opened || !closed {
		return []string{entry}
	}
	for word := range strings.SplitSeq(words, ",") {
		all = append(all, before+word+after)
	}
	return all
}
