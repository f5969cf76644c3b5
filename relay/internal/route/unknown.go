package route

import (
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// CodeUnknownDestination is the code of the dead letter of an event whose pattern leads to no
// allowed destination.
const CodeUnknownDestination = "UnknownDestination"

// Values of the setting RELAY_UNKNOWN_DESTINATION.
const (
	unknownParks    = "park"    // the event becomes a dead letter of the default destination
	unknownDefaults = "default" // the default destination gets it
)

// Unknown is an event whose pattern leads to no allowed destination.
type Unknown struct {
	EventID string
	Pattern string
	// Destination is the ARN that the pattern makes of the event. Empty if it makes none.
	Destination string
	Parked      bool // otherwise the default destination gets the event
}

// Reason says why no destination gets the event by its pattern.
func (u Unknown) Reason() string {
	if u.Destination == "" {
		return fmt.Sprintf("the pattern %s makes no ARN of it: a value is empty, or has characters other than "+
			"letters, digits, hyphens and underscores", u.Pattern)
	}
	return fmt.Sprintf("the pattern %s leads to %.400s, which %s does not have", u.Pattern, u.Destination,
		SettingAllowed)
}

// Patterns returns the patterns of all routes, in their order.
func (r *Router) Patterns() (texts []string) {
	for _, p := range r.patterns {
		texts = append(texts, p.text)
	}
	return texts
}

// Allowed returns to how many destinations patterns may lead.
func (r *Router) Allowed() int { return len(r.allowed) }

// Otherwise says what becomes of an event whose pattern leads elsewhere.
func (r *Router) Otherwise() string {
	if r.unknown == unknownParks {
		return "An event whose pattern leads elsewhere is parked"
	}
	return "An event whose pattern leads elsewhere goes to " + r.destinations[0]
}

// OnUnknown has tell called for each message of an event whose pattern leads to no allowed
// destination. It is set before the Router is used.
func (r *Router) OnUnknown(tell func(Unknown)) { r.tellUnknown = tell }

// resolve returns the destination that a pattern makes of e, or the default one.
func (r *Router) resolve(p *pattern, e *outbox.Envelope) (destination int, known bool) {
	var space [512]byte
	arn, ok := p.appendTo(space[:0], e)
	if !ok {
		return 0, false
	}
	destination, known = r.allowed[string(arn)]
	return destination, known // 0 is the default
}

// routeUnknown adds the outcome of an event whose pattern leads to no allowed destination.
func (r *Router) routeUnknown(e *outbox.Envelope, routed *Routed) {
	p := &r.patterns[patternOf(r.rule(e))]
	u := Unknown{EventID: EventID(e), Pattern: p.text, Parked: r.unknown == unknownParks}
	if arn, ok := p.appendTo(nil, e); ok {
		u.Destination = string(arn)
	}
	if r.tellUnknown != nil {
		r.tellUnknown(u)
	}
	if u.Parked && routed.Problem == "" {
		routed.Problem, routed.ProblemCode = u.Reason(), CodeUnknownDestination
	}
}
