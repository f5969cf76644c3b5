package status

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// longestList is how many destinations one problem names. The lines of the destinations name all.
const longestList = 5

// judgeDelivery adds the problems of a streaming relay's deliveries. Destinations that fail by the
// same cause are one problem.
func (s *Status) judgeDelivery(r Relay) {
	hasCause := false // of a delay
	for _, alike := range byCause(r.Destinations, Destination.outageCause) {
		hasCause = true
		s.judgeOutage(alike)
	}
	for _, alike := range byCause(r.Destinations, Destination.bucketCause) {
		hasCause = true
		s.judgeLargeEvents(alike)
	}
	delay := ""
	if r.Events.isDelayed() && !s.readsNoMore(r) { // the figures of a relay that ended are of the past
		delay = "events are delayed: " + r.Events.waiting()
	}
	for _, d := range r.Destinations {
		if d.State != DestinationThrottled {
			continue
		}
		text := fmt.Sprintf("%s limits the rate since %s: %.0f requests a second", d.Name, clock(*d.Since), d.RateLimit)
		if delay != "" && !hasCause {
			text += "; " + delay
		}
		hasCause = true
		s.add(Warning, "destination_throttled", "Delivery delayed",
			"raise the quota of the destination if events fall behind", "%s", text)
	}
	if delay != "" && !hasCause {
		s.add(Warning, "events_delayed", "Delivery delayed", "find the cause in the log of the relay", "%s", delay)
	}
}

// judgeOutage adds destinations that accept nothing by the same cause, with the events that wait
// for them in the outbox table.
func (s *Status) judgeOutage(alike []Destination) {
	code, verb, next := "destination_unavailable", "has accepted nothing",
		"fix the cause in the answer: the relay retries and continues by itself"
	if alike[0].State == DestinationRefusing {
		code, verb = "destination_refuses", "refuses events, and has accepted none"
		next = "fix the cause in the answer: the relay sends each refused event again, and parks it after a second " +
			"refusal, or after 15 seconds of refusals if the destination accepts no event"
	}
	level, failures, names := OK, 0, make([]string, len(alike))
	for i, d := range alike {
		level, failures = max(level, s.outage(d)), failures+d.Failures
		names[i] = fmt.Sprintf("%s %s since %s", d.Name, verb, clock(*d.Since))
		if at := s.deferralOf(d.Name); at >= 0 {
			names[i] += fmt.Sprintf(", and about %s in the outbox table", span.EventsWait(s.Deferrals[at].Events))
		}
	}
	after := ""
	if alike[0].State == DestinationUnavailable {
		after = " after " + span.Count(failures, "failure")
	}
	s.add(level, code, "Delivery delayed", next, "%s: %s%s%s",
		list(names, "; "), alike[0].Code, after, because(alike[0].Error))
}

// judgeLargeEvents adds destinations whose large events wait for the bucket by the same cause,
// whether or not they accept others.
func (s *Status) judgeLargeEvents(alike []Destination) {
	last, names := *alike[0].LargeEvents, make([]string, len(alike))
	last.Failures = 0
	for i, d := range alike {
		names[i], last.Failures = d.Name, last.Failures+d.LargeEvents.Failures
		if d.LargeEvents.Since.Before(last.Since) {
			last.Since = d.LargeEvents.Since
		}
	}
	s.add(Warning, "large_events_wait", "Large events wait",
		"fix the cause in the answer of the bucket: the relay retries and continues by itself",
		"large events of %s, and later events of their aggregates, wait for the bucket since %s: %s after %s%s",
		list(names, ", "), clock(last.Since), last.Code, span.Count(last.Failures, "failure"), because(last.Error))
}

// outage returns the level of a destination that accepts nothing.
func (s *Status) outage(d Destination) Level {
	if s.At.Sub(*d.Since) >= outageAfter {
		return Critical
	}
	return Warning
}

// byCause groups the items by their cause, in the order of the first of each. An item without a
// cause belongs to no group.
func byCause[T any](items []T, cause func(T) string) (groups [][]T) {
	var causes []string
	for _, item := range items {
		of := cause(item)
		if of == "" {
			continue
		}
		at := slices.Index(causes, of)
		if at < 0 {
			at, causes, groups = len(causes), append(causes, of), append(groups, nil)
		}
		groups[at] = append(groups[at], item)
	}
	return groups
}

// outageCause returns a text that is equal for all destinations that accept nothing because of one
// fault.
func (d Destination) outageCause() string {
	if d.State != DestinationUnavailable && d.State != DestinationRefusing {
		return ""
	}
	return d.State + " " + d.Code + " " + lastClause(d.Error)
}

// bucketCause is [Destination.outageCause] of the bucket for large events.
func (d Destination) bucketCause() string {
	if d.LargeEvents == nil {
		return ""
	}
	return d.LargeEvents.Code + " " + lastClause(d.LargeEvents.Error)
}

// lastClause returns the reason at the end of an error. The text before it names the request and
// the destination, which differ although the reason is the same.
func lastClause(text string) string { return text[strings.LastIndex(text, ": ")+1:] }

// list joins the texts, at most longestList of them.
func list(texts []string, separator string) string {
	if n := len(texts) - longestList; n > 0 {
		texts = append(slices.Clone(texts[:longestList]), fmt.Sprintf("and %d more", n))
	}
	return strings.Join(texts, separator)
}

// deferralOf returns the index of the deferral of all events of a destination, or -1.
func (s *Status) deferralOf(destination string) int {
	return slices.IndexFunc(s.Deferrals, func(d Deferral) bool {
		return d.Destination == destination && d.Aggregates == 0
	})
}

// failsByReport reports whether a problem of a relay already names the destination as one that
// accepts nothing.
func (s *Status) failsByReport(destination string) bool {
	for _, r := range s.Relays {
		if r.hasSlot() && slices.ContainsFunc(r.Destinations, func(d Destination) bool {
			return d.Name == destination && d.outageCause() != ""
		}) {
			return true
		}
	}
	return false
}
