package status

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// judgeRelays adds a problem if no relay streams.
func (s *Status) judgeRelays() {
	works, running, others := false, 0, len(s.Problems)
	for _, r := range s.Relays {
		if !r.IsHeard() {
			continue
		}
		running++
		works = works || r.State == "recovering" || r.State == "streaming" && s.Slot.Active
	}
	s.judgeErrors()
	s.judgeSilence(works)
	switch {
	case works || worst(s.Problems[others:]) == Critical:
	case running > 0 && s.state.IsBeingCreated():
		s.judgeCreation()
	case running > 0 && s.Slot.Active:
		s.add(Critical, "relay_not_streaming", "Relay not streaming",
			fmt.Sprintf("look for process %d in pg_stat_activity: its client_addr is the host that holds the slot",
				s.Slot.ActivePID),
			"%s and none streams: process %d, of another program or an older relay, holds slot %s",
			relaysRun(running), s.Slot.ActivePID, s.Slot.Name)
	case running > 0 && s.gap != "": // the relays cannot stream from it
	case slices.ContainsFunc(s.Relays, s.readsNoMore):
		r := s.Relays[slices.IndexFunc(s.Relays, s.readsNoMore)]
		s.add(Warning, "relay_starting", "Relay not streaming", "look again in ten seconds",
			"the relay on %s streamed %s ago, and no process reads slot %s now",
			r.Host, span.Format(r.silent()), s.Slot.Name)
	case running > 0:
		s.add(Warning, "relay_starting", "Relay not streaming", "look again in ten seconds",
			"%s and none streams yet", relaysRun(running))
	case s.Slot.Active:
		s.add(Unknown, "relay_unknown", "Relay not streaming", "upgrade the relay, or look at its /readyz",
			"process %d holds slot %s, and no relay reports its state: the process is an older relay or another "+
				"program",
			s.Slot.ActivePID, s.Slot.Name)
	default:
		s.add(Critical, "relay_missing", "Relay tasks missing", s.startRelay(), "no relay runs: %s", s.lastSeen())
	}
}

// judgeCreation adds that the server creates the slot, with the oldest transaction for which it
// waits.
func (s *Status) judgeCreation() {
	oldest := ""
	if len(s.blockers) > 0 {
		oldest = ": the oldest is " + s.blockers[0]
	}
	s.add(Warning, "relay_starting", "Relay not streaming", "look again in ten seconds, or end these transactions",
		"the server creates slot %s, and waits for the transactions that are older than the slot%s",
		s.Slot.Name, oldest)
}

// judgeErrors adds the errors and warnings of the relays. Relays with the same error are one
// problem.
func (s *Status) judgeErrors() {
	var errs, warnings []complaint
	for _, r := range s.Relays {
		if !r.IsHeard() {
			continue
		}
		errs = append(errs, complaint{r.Host, r.Error})
		for _, warning := range r.Warnings {
			warnings = append(warnings, complaint{r.Host, warning})
		}
	}
	for _, alike := range byCause(errs, complaint.cause) {
		s.add(Critical, "relay_failing", "Relay not streaming", "fix the cause in the error: the relay retries "+
			"by itself",
			"%s %s not stream: %s", theRelays(alike), span.Verb(len(alike), "does", "do"), alike[0].text)
	}
	for _, alike := range byCause(warnings, complaint.cause) {
		s.add(Warning, "relay_warns", "Relay not streaming", "fix the cause in the warning",
			"%s: %s", theRelays(alike), alike[0].text)
	}
}

// complaint is an error or a warning of the relay on a host.
type complaint struct{ host, text string }

func (c complaint) cause() string { return c.text }

func theRelays(of []complaint) string {
	hosts := make([]string, len(of))
	for i, c := range of {
		hosts[i] = c.host
	}
	return "the " + span.Verb(len(of), "relay", "relays") + " on " + list(hosts, ", ")
}

func relaysRun(n int) string { return span.Count(n, "relay") + span.Verb(n, " runs", " run") }

// startRelay returns the next step while no relay runs. A slot that no relay has used may be a
// wrong RELAY_SLOT.
func (s *Status) startRelay() string {
	switch {
	case len(s.Relays) > 0:
		return "start a relay; the log of the last one says why it ended"
	case len(s.others) > 0:
		return "start a relay of this slot, or set RELAY_SLOT: the slots with a checkpoint are " +
			strings.Join(s.others, ", ")
	}
	return "start a relay"
}

// readsNoMore reports whether the relay streamed at its last report, and no process reads the slot
// now.
func (s *Status) readsNoMore(r Relay) bool {
	return r.hasSlot() && r.State == "streaming" && !s.Slot.Active
}

// judgeSilence adds the relays that ended without a last report, or cannot reach the database.
func (s *Status) judgeSilence(works bool) {
	for _, r := range s.missing() {
		level, role := Critical, "the relay"
		if works {
			level, role = Warning, "a second relay"
		}
		s.add(level, "relay_silent", "Relay tasks missing",
			"see its log and /readyz on its host: it ended, or it cannot reach the database (address, password, "+
				"network)",
			"%s on %s has not been heard from for %s; it was %s then", role, r.Host, span.Format(r.silent()), r.State)
	}
}

// missing returns the silent relays that no other relay replaces. Each relay that started when a
// silent one had already missed a report replaces one of them. A relay that started before may be
// its standby, which has taken over: now a standby is missing.
func (s *Status) missing() []Relay {
	var missing []Relay
	replaces := slices.Clone(s.Relays)
	for _, r := range s.Relays { // the latest report first, which the fewest others can replace
		if r.IsHeard() || r.State == stopped || r.silent() > lostAfter {
			continue
		}
		startedLater := func(other Relay) bool { return other.StartedAt.Sub(r.ReportedAt) > idleInterval }
		if i := slices.IndexFunc(replaces, startedLater); i >= 0 {
			replaces = slices.Delete(replaces, i, i+1)
			continue
		}
		missing = append(missing, r)
	}
	return missing
}

// lastSeen describes the last relay.
func (s *Status) lastSeen() string {
	if len(s.Relays) == 0 {
		return "none has ever reported for slot " + s.Slot.Name
	}
	last := s.Relays[0]
	text := fmt.Sprintf("the last one, on %s, was %s %s ago", last.Host, last.State, span.Format(last.silent()))
	if last.Error != "" {
		text += ": " + last.Error
	}
	return text
}
