// Package route computes the destination of an event and its message: group, deduplication id and
// attributes. The result depends on the event and the settings alone, so two relays always agree.
package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Names of the settings that [Parse] reads.
const (
	SettingDestination = "RELAY_DESTINATION"
	SettingRoutes      = "RELAY_ROUTES"
	SettingHeaders     = "RELAY_HEADERS"
	SettingTenant      = "RELAY_TENANT"
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
	//
	// The first kind has priority over the second, and the second over the third. The longest
	// matching prefix counts.
	Routes string
	// Headers selects the headers that become attributes; see [ParseHeaders].
	Headers string
	// Tenant selects the MessageGroupId at standard destinations; see [ParseTenant].
	Tenant string
	// Schema and Table are the name of the outbox table.
	Schema, Table string
}

// Router routes the events of one outbox table. It is immutable and safe for concurrent use.
type Router struct {
	destinations  []string // each once, the default first
	eventTypes    map[string]int
	aggregates    map[string]int
	prefixes      map[string]int
	prefixLengths []int // of all prefixes, each once, longest first
	headers       Headers
	tenant        Tenant
	schema, table string
}

// Parse reads the settings. The error names every problem in them.
func Parse(s Settings) (*Router, error) {
	r := &Router{
		destinations: []string{strings.TrimSpace(s.Destination)},
		eventTypes:   map[string]int{},
		aggregates:   map[string]int{},
		prefixes:     map[string]int{},
		schema:       s.Schema,
		table:        s.Table,
	}
	var problems []error
	if r.destinations[0] == "" {
		problems = append(problems, fmt.Errorf("%s is empty: set the topic or queue for events that no route takes",
			SettingDestination))
	}
	problems = append(problems, r.parseRoutes(s.Routes)...)
	headers, err := ParseHeaders(s.Headers)
	if err != nil {
		problems = append(problems, err)
	}
	tenant, err := ParseTenant(s.Tenant)
	if err != nil {
		problems = append(problems, err)
	}
	r.headers, r.tenant = headers, tenant
	return r, errors.Join(problems...)
}

func (r *Router) parseRoutes(routes string) []error {
	var problems []error
	for entry := range strings.FieldsFuncSeq(routes, func(c rune) bool { return c == ';' || c == '\n' || c == '\r' }) {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		if err := r.parseRoute(entry); err != nil {
			problems = append(problems, fmt.Errorf("%s: entry %q: %w", SettingRoutes, entry, err))
		}
	}
	for prefix := range r.prefixes {
		if !slices.Contains(r.prefixLengths, len(prefix)) {
			r.prefixLengths = append(r.prefixLengths, len(prefix))
		}
	}
	slices.SortFunc(r.prefixLengths, func(a, b int) int { return b - a })
	return problems
}

func (r *Router) parseRoute(entry string) error {
	rule, destination, _ := strings.Cut(entry, "=")
	kind, name, _ := strings.Cut(rule, ":")
	kind, name, destination = strings.TrimSpace(kind), strings.TrimSpace(name), strings.TrimSpace(destination)
	prefix, isPrefix := strings.CutSuffix(name, "*")
	switch {
	case kind != "event" && kind != "aggregate" || name == "":
		return errors.New("write event:TYPE=DESTINATION, event:PREFIX*=DESTINATION or aggregate:TYPE=DESTINATION")
	case destination == "":
		return errors.New("it has no destination: write one after =")
	case strings.ContainsAny(destination, " \t,"):
		return errors.New("it has more than one destination: end each entry with a semicolon or a line break")
	case strings.Contains(prefix, "*"), isPrefix && kind == "aggregate":
		return errors.New("a * may stand only at the end of an event type")
	case isPrefix && prefix == "":
		return fmt.Errorf("it takes every event: set %s in its place", SettingDestination)
	case isPrefix:
		return r.add(r.prefixes, prefix, destination)
	case kind == "aggregate":
		return r.add(r.aggregates, name, destination)
	}
	return r.add(r.eventTypes, name, destination)
}

func (r *Router) add(rules map[string]int, name, destination string) error {
	if _, twice := rules[name]; twice {
		return errors.New("an entry before it has the same rule: keep one of them")
	}
	if destination == nowhere {
		rules[name] = Dropped
		return nil
	}
	index := slices.Index(r.destinations, destination)
	if index < 0 {
		index = len(r.destinations)
		r.destinations = append(r.destinations, destination)
	}
	rules[name] = index
	return nil
}

// Destinations returns every destination once, as the settings name it. The default destination is
// the first. [Router.Route] returns indexes into this list.
func (r *Router) Destinations() []string { return slices.Clone(r.destinations) }

// Tenant returns what standard destinations get as MessageGroupId.
func (r *Router) Tenant() Tenant { return r.tenant }

// Route returns the index of the destination of e, or [Dropped].
func (r *Router) Route(e *outbox.Envelope) int {
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
	return 0
}

// Routed is the result of [Router.Message].
type Routed struct {
	Destination    int    // index into [Router.Destinations], or [Dropped]
	Problem        string // why the event has to be parked, or empty
	DroppedHeaders int    // as [Router.AppendAttributes] counts them
}

// Message fills m with the message for e. It reuses the memory of m.Attributes. The message of a
// dropped event has nothing but its id.
func (r *Router) Message(e *outbox.Envelope, m *sink.Message) Routed {
	destination := r.Route(e)
	if destination == Dropped {
		*m = sink.Message{EventID: EventID(e), Attributes: m.Attributes[:0]}
		return Routed{Destination: Dropped}
	}
	var space [2 * maxIdentifier]byte
	text := appendGroup(space[:0], e)
	groupEnd := len(text)
	made := string(appendOccurredAt(text, e.CreatedAt)) // one allocation for both
	attributes, dropped := r.appendAttributes(m.Attributes[:0], e, made[groupEnd:])
	*m = sink.Message{
		EventID:         EventID(e),
		Body:            body(e),
		Attributes:      attributes,
		GroupID:         made[:groupEnd],
		TenantID:        r.tenant.of(e, made[:groupEnd]),
		DeduplicationID: DeduplicationID(e, r.schema, r.table),
	}
	return Routed{Destination: destination, Problem: Problem(e), DroppedHeaders: dropped}
}

// body returns the payload for the message. A dead letter of a payload that exceeds every limit
// does not store the payload: the outbox table has it, under the event's id.
func body(e *outbox.Envelope) string {
	if len(e.Payload) > outbox.MaxPayload {
		return ""
	}
	return e.Payload
}

// Problem returns the reason why no destination can accept e, or an empty string.
func Problem(e *outbox.Envelope) string {
	if len(e.Payload) > outbox.MaxPayload {
		return fmt.Sprintf("the payload has %d bytes, no message may have more than %d", len(e.Payload),
			outbox.MaxPayload)
	}
	var missing []string
	if e.ID == "" {
		missing = append(missing, "event id")
	}
	if e.EventType == "" {
		missing = append(missing, "event type")
	}
	if e.Payload == "" {
		missing = append(missing, "payload")
	}
	if missing == nil {
		return ""
	}
	return strings.Join(missing, ", ") + ": NULL or empty"
}
