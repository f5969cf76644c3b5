// Package route computes the destination of an event and its message: group, deduplication id and
// attributes. The result depends on the event and the settings alone, so two relays always agree.
package route

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/format"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Names of the settings that [Parse] reads.
const (
	SettingDestination = "RELAY_DESTINATION"
	SettingRoutes      = "RELAY_ROUTES"
	SettingHeaders     = "RELAY_HEADERS"
	SettingTenant      = "RELAY_TENANT"
	SettingAllowed     = "RELAY_ALLOWED_DESTINATIONS"
	SettingUnknown     = "RELAY_UNKNOWN_DESTINATION"
	SettingMax         = "RELAY_MAX_DESTINATIONS"
)

// Dropped is the index of events that a route leads nowhere. The relay sends them to no destination
// and counts them as done.
const Dropped = -1

// nowhere is the destination of a route that drops events.
const nowhere = "none"

// Settings are the settings as the user writes them.
type Settings struct {
	// Destination receives every event that no route matches.
	Destination string
	// Routes is a list of entries, each ended by a semicolon or a line break:
	//
	//	event:order.created=DESTINATION      events of exactly this type
	//	aggregate:customer=DESTINATION       events of exactly this aggregate type
	//	event:billing.*=DESTINATION          events whose type begins with "billing."
	//	event:internal.*=none                events that are dropped
	//	event:*=arn:aws:sns:…:${topic}.fifo  every other event, by a pattern
	//
	// The first kind has priority over the second, and the second over the third. The longest
	// matching prefix counts. Each kind may lead to a pattern.
	Routes string
	// Allowed lists the destinations that patterns may lead to; see [parseAllowed].
	Allowed string
	// Unknown says whether an event whose pattern leads elsewhere is parked ("park", the default)
	// or goes to the default destination ("default").
	Unknown string
	// Max bounds the number of destinations that only patterns lead to; zero means no bound.
	Max int
	// Headers selects the headers that become attributes; see [ParseHeaders].
	Headers string
	// AttributeNames renames or drops the relay's own attributes, as in event_id=id,sequence=none.
	AttributeNames string
	// Columns become attributes.
	Columns []outboxtable.Attribute
	// Format is the format of messages; see [parseFormats].
	Format string
	// CloudEvents are attributes of CloudEvents that do not have their default.
	CloudEvents []format.Attribute
	// Tenant selects the MessageGroupId at standard destinations; see [ParseTenant].
	Tenant string
	// Schema and Table are the name of the outbox table.
	Schema, Table string
	// Several says that there are several outbox tables. An event then has its own.
	Several bool
	// OrderKey are the indexes in [outbox.Envelope.Extra] of the columns that are the unit of order
	// in place of the aggregate; see [Group].
	OrderKey []int
	// Untyped says that the table has no type of its events, so that none is required.
	Untyped bool
	// MaxPayload is the longest payload that is sent, in bytes, if there is a bucket for large
	// events; zero means that there is none, and [outbox.MaxPayload].
	MaxPayload int
}

// Router routes the events of one outbox table. It is immutable and safe for concurrent use.
type Router struct {
	rules                  // to destinations
	destinations  []string // each once: the default, those of routes, those of patterns alone
	named         int      // how many of them are no pattern's alone
	patterns      []pattern
	column        string         // that patterns read, as the setting has it
	allowed       map[string]int // destinations of patterns, by ARN
	unknown       string
	filter        string // row filter of the publication
	tellUnknown   func(Unknown)
	headers       Headers
	names         ownNames
	columns       []outboxtable.Attribute
	tenant        Tenant
	schema, table string
	orderKey      []int
	untyped       bool
	maxPayload    int
	hasBucket     bool     // for large events
	formats       *formats // nil: every message has the plain format
}

// A rule leads to a destination, to [Dropped], or to a pattern by a number below that.
func ruleOf(pattern int) int   { return Dropped - 1 - pattern }
func patternOf(rule int) int   { return Dropped - 1 - rule }
func isPatternRule(r int) bool { return r < Dropped }

// Parse reads the settings. The error names every problem in them.
func Parse(s Settings) (*Router, error) {
	r := &Router{
		rules:        newRules(),
		destinations: []string{strings.TrimSpace(s.Destination)},
		allowed:      map[string]int{},
		unknown:      cmp.Or(s.Unknown, unknownParks),
		schema:       s.Schema,
		table:        s.Table,
		orderKey:     s.OrderKey,
		columns:      s.Columns,
		untyped:      s.Untyped,
		maxPayload:   cmp.Or(s.MaxPayload, outbox.MaxPayload),
		hasBucket:    s.MaxPayload != 0,
	}
	var problems []error
	if r.destinations[0] == "" {
		problems = append(problems, fmt.Errorf("%s is empty: set it to the topic, queue or event bus of the events "+
			"that match no route", SettingDestination))
	}
	if isPattern(r.destinations[0]) {
		problems = append(problems, fmt.Errorf("%s is a pattern, and has to be one destination, for events whose "+
			"pattern leads to none: write the pattern as %s=event:*=%s", SettingDestination, SettingRoutes,
			r.destinations[0]))
	}
	problems = append(problems, r.parseRoutes(s.Routes)...)
	problems = append(problems, r.allow(s)...)
	var err error
	if r.formats, err = parseFormats(s); err != nil {
		problems = append(problems, err)
	}
	if r.names, err = parseOwnNames(s.AttributeNames, s.Several); err != nil {
		problems = append(problems, err)
	}
	if err := checkColumns(s.Columns, r.names); err != nil {
		problems = append(problems, err)
	}
	headers, err := ParseHeaders(s.Headers, r.reserved(s.Columns))
	if err != nil {
		problems = append(problems, err)
	}
	tenant, err := ParseTenant(s.Tenant)
	if err != nil {
		problems = append(problems, err)
	}
	r.headers, r.tenant = headers, tenant
	if err := r.formats.reserve(headers, r.names, s.Columns); err != nil {
		problems = append(problems, err)
	}
	return r, errors.Join(problems...)
}

// reserved returns the names that no header may have, or nil for the default ones.
func (r *Router) reserved(columns []outboxtable.Attribute) []string {
	if r.names == defaultNames && len(columns) == 0 {
		return nil
	}
	names := r.names.list()
	for _, column := range columns {
		names = append(names, column.Name)
	}
	return names
}

func (r *Router) parseRoutes(routes string) []error {
	var problems []error
	for _, entry := range entries(routes) {
		if err := r.parseRoute(entry); err != nil {
			problems = append(problems, fmt.Errorf("%s: entry %q: %w", SettingRoutes, entry, err))
		}
	}
	r.sort()
	return problems
}

func (r *Router) parseRoute(entry string) error {
	rule, destination, _ := strings.Cut(entry, "=")
	destination = strings.TrimSpace(destination)
	rules, name, err := r.place(rule)
	switch {
	case errors.Is(err, errNoRule):
		return errors.New("write event:TYPE=DESTINATION, event:PREFIX*=DESTINATION or aggregate:TYPE=DESTINATION")
	case destination == "":
		return errors.New("it has no destination: write one after =")
	case strings.ContainsAny(placeholder.ReplaceAllString(destination, ""), " \t,"):
		return errors.New("it has more than one destination: end each entry with a semicolon or a line break")
	case err != nil:
		return err
	case name == "" && !isPattern(destination):
		return fmt.Errorf("it takes every event: set %s in its place", SettingDestination)
	}
	return r.add(rules, name, destination)
}

func (r *Router) add(rules map[string]int, name, destination string) error {
	if _, twice := rules[name]; twice {
		return errors.New("an entry before it has the same rule: keep one of them")
	}
	switch {
	case destination == nowhere:
		rules[name] = Dropped
		return nil
	case isPattern(destination):
		return r.addPattern(rules, name, destination)
	}
	rules[name] = r.indexOf(destination)
	return nil
}

// indexOf returns the index of a destination, which it adds if it is new.
func (r *Router) indexOf(destination string) int {
	index := slices.Index(r.destinations, destination)
	if index < 0 {
		index = len(r.destinations)
		r.destinations = append(r.destinations, destination)
	}
	return index
}

// Destinations returns every destination once, as the settings name it. The default destination is
// the first. [Router.Route] returns indexes into this list.
func (r *Router) Destinations() []string { return slices.Clone(r.destinations) }

// Destination returns the destination with this index, as the settings name it.
func (r *Router) Destination(i int) string { return r.destinations[i] }

// Named returns how many of them the settings name by themselves. The others, which follow, are
// those that only patterns lead to.
func (r *Router) Named() int { return r.named }

// Column returns the column that patterns read, as the setting names it, or an empty text. It may
// be a list of alternative names, and the names may be quoted.
func (r *Router) Column() string { return r.column }

// Tenant returns what standard destinations get as MessageGroupId.
func (r *Router) Tenant() Tenant { return r.tenant }

// columnName matches one name of a list.
var columnName = regexp.MustCompile(`"(?:[^"]|"")*"|[^," ]+`)

// ColumnNames returns the alternative names of that column.
func (r *Router) ColumnNames() []string {
	names := columnName.FindAllString(r.column, -1)
	for i, name := range names {
		if strings.HasPrefix(name, `"`) {
			names[i] = strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
		}
	}
	return names
}

// Route returns the index of the destination of e, or [Dropped].
func (r *Router) Route(e *outbox.Envelope) int {
	destination, _ := r.route(e)
	return destination
}

// Pattern returns the pattern that leads e to its destination, or an empty text.
func (r *Router) Pattern(e *outbox.Envelope) string {
	if rule := r.rule(e); isPatternRule(rule) {
		return r.patterns[patternOf(rule)].text
	}
	return ""
}

// route also reports whether the destination is known. It is not where the pattern leads to none
// that is allowed.
func (r *Router) route(e *outbox.Envelope) (destination int, known bool) {
	rule := r.rule(e)
	if isPatternRule(rule) {
		return r.resolve(&r.patterns[patternOf(rule)], e)
	}
	return rule, true
}

// rule returns the destination or pattern of the most exact rule.
func (r *Router) rule(e *outbox.Envelope) int { return r.match(e, 0) }
