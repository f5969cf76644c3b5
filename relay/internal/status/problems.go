package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// Level is the severity of a problem. The values are the exit codes of monitoring plug-ins.
// https://nagios-plugins.org/doc/guidelines.html#AEN78
type Level int

const (
	OK Level = iota
	Warning
	Critical
	Unknown
)

var levelNames = map[Level]string{OK: "ok", Warning: "warning", Critical: "critical", Unknown: "unknown"}

func (l Level) String() string { return levelNames[l] }

// MarshalText implements [encoding.TextMarshaler].
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Problem is one problem with its next step.
type Problem struct {
	Level   Level  `json:"level"`
	Code    string `json:"code"`    // stable, for programs
	Problem string `json:"problem"` // the problem, its object, and since when
	Next    string `json:"next"`    // the operator's next step
	Runbook string `json:"runbook"` // the heading in infra/RUNBOOKS.md
}

const (
	// delayedAfter is how long the oldest event may wait before that is a problem.
	delayedAfter = time.Minute
	// outageAfter is how long a destination may accept nothing before that is critical.
	outageAfter = time.Minute
	// lostAfter is how long a relay that no longer reports is a problem. Afterwards an operator has
	// probably removed its host.
	lostAfter = time.Hour
)

func (s *Status) add(level Level, code, runbook, next, format string, args ...any) {
	s.Problems = append(s.Problems, Problem{
		Level: level, Code: code, Problem: fmt.Sprintf(format, args...), Next: next, Runbook: runbook,
	})
}

// judge adds the problems and sorts them, the most severe first.
func (s *Status) judge() {
	s.judgeSlot()
	s.judgeRelays()
	for _, relay := range s.Relays {
		if relay.hasSlot() {
			s.judgeDelivery(relay)
		}
	}
	s.judgeDatabase()
	slices.SortStableFunc(s.Problems, func(a, b Problem) int { return cmp.Compare(b.Level, a.Level) })
	s.Level = worst(s.Problems)
}

func worst(problems []Problem) (level Level) {
	for _, problem := range problems {
		level = max(level, problem.Level)
	}
	return level
}

// judgeDelivery adds the problems of a streaming relay's deliveries.
func (s *Status) judgeDelivery(r Relay) {
	holdsUp := false
	for _, d := range r.Destinations {
		holdsUp = holdsUp || d.LargeEvents != nil
		s.judgeLargeEvents(d)
		switch d.State {
		case DestinationUnavailable:
			holdsUp = true
			s.add(s.outage(d), "destination_unavailable", "Delivery delayed",
				"fix the cause in the answer: the relay retries and continues by itself",
				"%s has accepted nothing since %s: %s after %s%s",
				d.Name, clock(*d.Since), d.Code, span.Count(d.Failures, "failure"), because(d.Error))
		case DestinationRefusing:
			holdsUp = true
			s.add(s.outage(d), "destination_refuses", "Delivery delayed",
				"fix the cause in the answer: the relay sends each refused event again, and parks it after a second "+
					"refusal, or after 15 seconds of refusals if the destination accepts no event",
				"%s refuses events, and has accepted none since %s: %s%s",
				d.Name, clock(*d.Since), d.Code, because(d.Error))
		case DestinationThrottled:
			s.add(Warning, "destination_throttled", "Delivery delayed",
				"raise the quota of the destination if events fall behind",
				"%s limits the rate since %s: %.0f requests a second", d.Name, clock(*d.Since), d.RateLimit)
		}
	}
	if r.Events.oldestWait() >= delayedAfter && !holdsUp {
		s.add(Warning, "events_delayed", "Delivery delayed", "find the cause in the log of the relay",
			"events are delayed: %s", r.Events.waiting())
	}
}

// outage returns the level of a destination that accepts nothing.
func (s *Status) outage(d Destination) Level {
	if s.At.Sub(*d.Since) >= outageAfter {
		return Critical
	}
	return Warning
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// judgeDatabase adds the problems that the relay's tables show.
func (s *Status) judgeDatabase() {
	s.judgeDeadLetters()
	s.judgePauses()
	for _, d := range s.Deferrals {
		if s.isPaused(d.Destination) {
			continue
		}
		if d.Aggregates > 0 {
			s.judgeAggregates(d)
			continue
		}
		s.add(Warning, "events_deferred", "Events deferred",
			"fix the cause that the destination names: the relay delivers the events by itself",
			"about %d events wait in the outbox table for %s since %s: %s",
			d.Events, d.Destination, clock(d.Since), d.Reason)
	}
	for _, partition := range s.Partitions {
		s.add(Warning, "partition_attached", "Delivery delayed",
			"wait: the relay publishes the rows that the log did not bring. If it halts, run relay recover",
			"partition %s was attached with rows in it", partition)
	}
	if len(s.NewTables) > 0 {
		s.add(Warning, "new_tables_wait", "Delivery delayed",
			"end the oldest transactions, which pg_stat_activity (backend_xid) and pg_prepared_xacts show: the "+
				"relay then publishes the rows",
			"the rows that new tables had before the publication streamed them wait for transactions of that time: %s",
			strings.Join(s.NewTables, ", "))
	}
	if s.Recovery != nil && !s.Recovery.Running && worst(s.Problems) < Critical {
		s.add(Warning, "recovery_marked", "Slot lost",
			"wait: the relay begins the recovery with its next session. If it does not, its error says why",
			"the slot may not bring every event, and the relay is about to publish from the table")
	}
}
