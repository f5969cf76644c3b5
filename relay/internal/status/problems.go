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

// judge adds the problems and sorts them, the most severe first. A cause comes before its
// consequences. A consequence that needs no step of its own is no problem of its own.
func (s *Status) judge() {
	s.judgeGap()
	s.judgeRelays()
	for _, relay := range s.Relays {
		if relay.hasSlot() {
			s.judgeDelivery(relay)
		}
	}
	s.judgeDatabase()
	s.judgeDanger()
	slices.SortStableFunc(s.Problems, func(a, b Problem) int { return cmp.Compare(b.Level, a.Level) })
	s.Level = worst(s.Problems)
}

func worst(problems []Problem) (level Level) {
	for _, problem := range problems {
		level = max(level, problem.Level)
	}
	return level
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
		switch {
		case s.isPaused(d.Destination):
			continue
		case d.Aggregates > 0:
			s.judgeAggregates(d)
			continue
		case s.failsByReport(d.Destination): // that problem has the figure
			continue
		}
		s.add(Warning, "events_deferred", "Events deferred",
			"fix the cause that the destination names: the relay delivers the events by itself",
			"about %s in the outbox table for %s since %s: %s",
			span.EventsWait(d.Events), d.Destination, clock(d.Since), d.Reason)
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
