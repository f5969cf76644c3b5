package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// judgePauses adds the paused destinations, so that none is forgotten.
func (s *Status) judgePauses() {
	for _, p := range s.Pauses {
		text := fmt.Sprintf("%s is paused since %s%s", p.Destination, clock(p.Since), because(p.Reason))
		if p.InEffect {
			text += fmt.Sprintf("; about %s in the outbox table", span.EventsWait(p.Events))
		} else {
			text += "; the relay has not applied that yet"
		}
		s.add(Warning, "destination_paused", "Destination paused",
			"relay resume "+p.Destination+" delivers what waits, in order", "%s", text)
	}
}

// behindFor is how long an aggregate may wait in the outbox table before that is a problem. A burst
// of events is delivered by then.
const behindFor = 15 * time.Minute

// judgeAggregates adds aggregates whose events have waited in the outbox table for long. Those
// behind a dead letter belong to that.
func (s *Status) judgeAggregates(d Deferral) {
	if d.isBehind() || s.At.Sub(d.Since) < behindFor {
		return
	}
	s.add(Warning, "aggregates_behind", "Aggregates behind",
		"wait: the relay delivers the events by itself. If they come faster for long, spread them over more aggregates",
		"about %d events%s wait in the outbox table for %s since %s: %s",
		d.Events, d.ofAggregates(), d.Destination, clock(d.Since), d.Reason)
}

func (d Deferral) ofAggregates() string {
	if d.Aggregates == 1 {
		return " of " + d.Largest
	}
	return fmt.Sprintf(" of %d aggregates, most of them of %s,", d.Aggregates, d.Largest)
}

// judgeDeadLetters adds the parked events: the refused ones, and apart from them those that only
// wait behind one.
func (s *Status) judgeDeadLetters() {
	var refused, behind int64
	var causes []string
	for _, d := range s.DeadLetters {
		if !d.Refused {
			behind += d.Events
			continue
		}
		refused += d.Events
		causes = append(causes, fmt.Sprintf("%d %s", d.Events, d.Code))
	}
	if refused+behind == 0 {
		return
	}
	all := refused + behind
	text := fmt.Sprintf("%s %s parked: %s", span.Count(all, "event"), span.Verb(all, "is", "are"),
		cmp.Or(strings.Join(causes, ", "), "all behind one that is being redriven"))
	if refused > 0 && behind > 0 {
		text += fmt.Sprintf("; %d %s behind them", behind, span.Verb(behind, "waits", "wait"))
	}
	if events, aggregates := s.waitBehind(); aggregates > 0 {
		text += fmt.Sprintf("; about %s of %s wait behind them in the outbox table",
			span.Count(events, "event"), span.Count(aggregates, "aggregate"))
	}
	s.add(Warning, "events_parked", "Events parked",
		"relay dead-letters list shows each cause with its reason: redrive or discard them",
		"%s", text)
}

// waitBehind returns about how many events wait in the outbox table behind dead letters, and of how
// many aggregates.
func (s *Status) waitBehind() (events int64, aggregates int) {
	for _, d := range s.Deferrals {
		if d.isBehind() {
			events, aggregates = events+d.Events, aggregates+d.Aggregates
		}
	}
	return events, aggregates
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// waitingFor returns about how many events wait in the outbox table for a destination.
func (s *Status) waitingFor(destination string) (events int64) {
	for _, d := range s.Deferrals {
		if d.Destination == destination {
			events += d.Events
		}
	}
	return events
}

func (s *Status) isPaused(destination string) bool {
	return slices.ContainsFunc(s.Pauses, func(p Pause) bool { return p.Destination == destination })
}
