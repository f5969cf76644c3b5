package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Level says how bad a problem is. The values are the exit codes of monitoring plug-ins.
// https://nagios-plugins.org/doc/guidelines.html#AEN78
type Level int

// The levels.
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

// Problem is one thing that is wrong.
type Problem struct {
	Level   Level  `json:"level"`
	Code    string `json:"code"`    // stable, for programs
	Problem string `json:"problem"` // what is wrong, for which object, since when
	Next    string `json:"next"`    // what an operator does
	Runbook string `json:"runbook"` // the heading in infra/RUNBOOKS.md
}

const (
	// delayedAfter is how long the oldest event may wait before it is a problem.
	delayedAfter = time.Minute
	// outageAfter is how long a destination may be unavailable before that is critical.
	outageAfter = time.Minute
	// lostAfter is for how long a relay that is not heard from any more is a problem: an operator may have
	// removed its host.
	lostAfter = time.Hour
)

func (s *Status) add(level Level, code, runbook, next, format string, args ...any) {
	s.Problems = append(s.Problems, Problem{Level: level, Code: code, Problem: fmt.Sprintf(format, args...), Next: next, Runbook: runbook})
}

// danger adds what endangers the slot. It has the state of the slot with its limits.
func (s *Status) danger(state slot.State) {
	danger := state.Danger()
	switch {
	case danger == "":
	case state.Lost():
		s.add(Critical, "slot_lost", "Slot lost", "start a relay if none runs: it repairs the gap by itself", "slot %s: %s", s.Slot.Name, danger)
	case state.WALStatus == "extended":
		s.add(Warning, "slot_holds_log", "Slot holds log back", "see the other problems: delivery is held up", "slot %s: %s", s.Slot.Name, danger)
	default:
		s.add(Critical, "slot_in_danger", "Slot in danger", "raise max_slot_wal_keep_size now, then see the other problems",
			"slot %s: %s", s.Slot.Name, danger)
	}
}

// judge adds the problems and orders them, the worst first.
func (s *Status) judge() {
	s.judgeRelays()
	for _, relay := range s.Relays {
		if relay.IsHeard() && (relay.State == "streaming" || relay.State == "recovering") {
			s.judgeDelivery(relay)
		}
	}
	s.judgeDatabase()
	slices.SortStableFunc(s.Problems, func(a, b Problem) int { return cmp.Compare(b.Level, a.Level) })
	s.Level = s.worst()
}

// judgeRelays asks whether a relay does the work.
func (s *Status) judgeRelays() {
	works, running := false, 0
	for _, r := range s.Relays {
		if !r.IsHeard() {
			continue
		}
		running++
		works = works || r.State == "streaming" || r.State == "recovering"
		if r.Error != "" {
			s.add(Critical, "relay_failing", "Relay not streaming", "do what the error says; the relay retries by itself",
				"the relay on %s does not stream: %s", r.Host, r.Error)
		}
		for _, warning := range r.Warnings {
			s.add(Warning, "relay_warns", "Relay not streaming", "do what the warning says", "the relay on %s: %s", r.Host, warning)
		}
	}
	s.judgeSilence(works)
	switch {
	case works || s.worst() == Critical:
	case running > 0 && s.Slot.Active:
		s.add(Critical, "relay_not_streaming", "Relay not streaming",
			fmt.Sprintf("look for process %d in pg_stat_activity: its client_addr says who holds the slot", s.Slot.ActivePID),
			"%d relays run and none streams: process %d, of another program or an older relay, holds slot %s", running, s.Slot.ActivePID, s.Slot.Name)
	case running > 0:
		s.add(Warning, "relay_starting", "Relay not streaming", "look again in ten seconds", "%d relays run and none streams yet", running)
	case s.Slot.Active:
		s.add(Unknown, "relay_unknown", "Relay not streaming", "upgrade the relay, or look at its /readyz",
			"process %d holds slot %s, and no relay reports its state: it is an older one, or another program", s.Slot.ActivePID, s.Slot.Name)
	default:
		s.add(Critical, "relay_missing", "Relay tasks missing", "start a relay; the log of the last one says why it ended", "no relay runs: %s", s.lastSeen())
	}
}

func (s *Status) worst() (level Level) {
	for _, problem := range s.Problems {
		level = max(level, problem.Level)
	}
	return level
}

// judgeSilence adds the relays that ended without a word, or cannot reach the database.
func (s *Status) judgeSilence(works bool) {
	for _, r := range s.Relays {
		if r.IsHeard() || r.State == stopped || r.silent() > lostAfter {
			continue
		}
		level, role := Critical, "the relay"
		if works {
			level, role = Warning, "a second relay"
		}
		s.add(level, "relay_silent", "Relay tasks missing",
			"its log and /readyz on its host say why: it ended, or it cannot reach the database (address, password, network)",
			"%s on %s has not been heard from for %s; it was %s then", role, r.Host, round(r.silent()), r.State)
	}
}

// lastSeen says which relay there was last.
func (s *Status) lastSeen() string {
	if len(s.Relays) == 0 {
		return "none has ever reported for slot " + s.Slot.Name
	}
	last := s.Relays[0]
	text := fmt.Sprintf("the last one, on %s, was %s %s ago", last.Host, last.State, round(last.silent()))
	if last.Error != "" {
		text += ": " + last.Error
	}
	return text
}

// judgeDelivery asks whether the events of a relay that works arrive.
func (s *Status) judgeDelivery(r Relay) {
	unavailable := false
	for _, d := range r.Destinations {
		switch d.State {
		case DestinationUnavailable:
			unavailable = true
			level := Warning
			if r.ReportedAt.Sub(*d.Since) >= outageAfter {
				level = Critical
			}
			s.add(level, "destination_unavailable", "Delivery delayed", "fix what the answer names: the relay retries and continues by itself",
				"%s has accepted nothing since %s: %s after %d failures%s", d.Name, clock(*d.Since), d.Code, d.Failures, because(d.Error))
		case DestinationThrottled:
			s.add(Warning, "destination_throttled", "Delivery delayed", "raise the quota of the destination if events fall behind",
				"%s limits the rate since %s: %.0f requests a second", d.Name, clock(*d.Since), d.RateLimit)
		}
	}
	oldest := time.Duration(r.Events.OldestWaitSeconds * float64(time.Second))
	if oldest >= delayedAfter && !unavailable {
		s.add(Warning, "events_delayed", "Delivery delayed", "see the log of the relay for what holds delivery up",
			"the oldest event has waited for %s; %d are on their way", round(oldest), r.Events.InFlight)
	}
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// judgeDatabase adds what the tables of the relay show.
func (s *Status) judgeDatabase() {
	var events int64
	var causes []string
	for _, d := range s.DeadLetters {
		events += d.Events
		if d.Refused {
			causes = append(causes, fmt.Sprintf("%d %s", d.Events, d.Code))
		}
	}
	if events > 0 {
		s.add(Warning, "events_parked", "Events parked", "relay dead-letters list shows each with its reason; redrive or discard them",
			"%d events are parked: %s", events, cmp.Or(strings.Join(causes, ", "), "all behind one that is being redriven"))
	}
	for _, partition := range s.Partitions {
		s.add(Warning, "partition_attached", "Events undelivered", "wait: the relay publishes the rows that the log did not bring; where it halts at "+
			"them, run relay recover", "partition %s was attached with rows in it", partition)
	}
	if s.Recovery != nil && !s.Recovery.Running && s.worst() < Critical {
		s.add(Warning, "recovery_marked", "Slot lost", "wait: the relay begins with its next session; if it does not, its error says why",
			"the slot may not bring every event, and the relay is about to publish from the table")
	}
}

// round keeps two units of a duration.
func round(d time.Duration) time.Duration {
	switch {
	case d >= time.Hour:
		return d.Round(time.Minute)
	case d >= time.Second:
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
