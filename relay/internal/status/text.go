package status

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// Write writes the status as one screen of text: the level, the problems with their next steps, and
// the figures.
func (s *Status) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s  slot %s", s.Level, s.Slot.Name)
	if s.Table != "" {
		fmt.Fprintf(w, ", table %s", s.Table)
	}
	if s.Tables != nil {
		fmt.Fprintf(w, " (%d tables)", len(s.Tables))
	}
	fmt.Fprintf(w, "  %s\n", clock(s.At))
	for _, p := range s.Problems {
		fmt.Fprintf(w, "\n%s: %s\n  next: %s (runbook %q)\n", p.Level, p.Problem, p.Next, p.Runbook)
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range s.Relays {
		s.writeRelay(table, r)
	}
	s.writeSlot(table)
	s.writeProgress(table)
	return table.Flush()
}

// writeRelay writes the last report of a relay. Its ages count to the time of the status, and its
// figures are those of the report.
func (s *Status) writeRelay(w io.Writer, r Relay) {
	switch {
	case r.State == stopped:
		fmt.Fprintf(w, "relay\tstopped on %s %s ago\n", r.Host, span.Format(r.silent()))
		return
	case !r.IsHeard():
		fmt.Fprintf(w, "relay\tnot heard from for %s, on %s, version %s; it was %s\n",
			span.Format(r.silent()), r.Host, r.Version, r.State)
		return
	case r.Superseded:
		fmt.Fprintf(w, "relay\tnot heard from for %s, on %s, version %s; another relay has the slot since; "+
			"it was %s\n", span.Format(r.silent()), r.Host, r.Version, r.State)
		return
	}
	if s.readsNoMore(r) {
		fmt.Fprintf(w, "relay\tstreamed at its last report, %s ago, on %s, version %s; no process reads the slot now\n",
			span.Format(r.silent()), r.Host, r.Version)
		return
	}
	fmt.Fprintf(w, "relay\t%s for %s on %s, version %s, up for %s\n",
		r.State, span.Format(s.At.Sub(r.Since)), r.Host, r.Version, span.Format(s.At.Sub(r.StartedAt)))
	if len(r.MissingGuarantees) > 0 {
		fmt.Fprintf(w, "missing\t%s: the columns of the table do not allow it (relay check)\n",
			strings.Join(r.MissingGuarantees, ", "))
	}
	if r.State == "standby" {
		return
	}
	fmt.Fprintf(w, "events\tas of %s ago: %s; %.0f/s read, %.0f/s delivered",
		span.Format(s.At.Sub(r.ReportedAt)), r.Events.waiting(), r.Events.ReadPerSecond, r.Events.DeliveredPerSecond)
	if r.Events.Dropped > 0 {
		fmt.Fprintf(w, "; %d dropped by RELAY_ROUTES", r.Events.Dropped)
	}
	fmt.Fprintln(w)
	for _, d := range r.Destinations {
		fmt.Fprintf(w, "destination\t%s %s%s\n", d.Name, d.State, d.detail(s.At))
	}
}

// oldestWait returns how long the oldest undelivered event had waited at the time of the report, as
// far as the relay cannot exclude it.
func (e Events) oldestWait() time.Duration {
	return time.Duration(e.OldestWaitSeconds * float64(time.Second))
}

// isDelayed reports whether an event waits for so long that it is a problem.
func (e Events) isDelayed() bool { return e.oldestWait() >= delayedAfter }

// waiting describes the undelivered events. A relay that has read none of them may still know that
// one waits, or be unable to exclude it.
func (e Events) waiting() string {
	oldest := span.Format(e.oldestWait())
	switch {
	case e.InFlight > 0:
		return fmt.Sprintf("%d read and not delivered, the oldest has waited for %s", e.InFlight, oldest)
	case e.oldestWait() > 0:
		return "an undelivered event may have waited for " + oldest
	}
	return "none waits"
}

func (d Destination) detail(now time.Time) string {
	switch {
	case d.State == DestinationUnavailable || d.State == DestinationRefusing || d.State == DestinationLargeEventsWait:
		return fmt.Sprintf(" for %s: %s", span.Format(now.Sub(*d.Since)), d.Code)
	case d.State == DestinationPaused:
		return " for " + span.Format(now.Sub(*d.Since))
	case d.State == DestinationThrottled:
		return fmt.Sprintf(" for %s, %.0f requests a second", span.Format(now.Sub(*d.Since)), d.RateLimit)
	case d.LastAcceptedAt != nil:
		return fmt.Sprintf(", %d delivered, the last %s ago", d.Delivered, span.Format(now.Sub(*d.LastAcceptedAt)))
	}
	return ", nothing sent yet"
}

func (s *Status) writeSlot(w io.Writer) {
	if !s.Slot.Exists {
		fmt.Fprintf(w, "slot\t%s does not exist\n", s.Slot.Name)
		return
	}
	holder := "not held"
	if s.Slot.Active {
		holder = fmt.Sprintf("held by process %d", s.Slot.ActivePID)
	}
	fmt.Fprintf(w, "slot\t%s, wal_status %s; %s of log not confirmed, %s kept on the database's disk",
		holder, s.Slot.WALStatus, size(s.Slot.DeliveryLagBytes), size(s.Slot.RetainedBytes))
	if s.Slot.SafeBytes != nil {
		fmt.Fprintf(w, ", %s more until it is in danger", size(*s.Slot.SafeBytes))
	}
	fmt.Fprintln(w)
}

func (s *Status) writeProgress(w io.Writer) {
	if s.Checkpoint == nil {
		fmt.Fprintln(w, "checkpoint\tnone: no relay has used this slot")
	} else {
		at := s.Checkpoint.FlushLSN
		if at == "0/0" {
			at = "no position in the log yet"
		}
		fmt.Fprintf(w, "checkpoint\t%s, written %s ago\n", at, span.Format(s.At.Sub(s.Checkpoint.WrittenAt)))
	}
	s.writeRecovery(w)
	s.writeDeadLetters(w)
	s.writeWaiting(w)
	if r := s.Replay; r != nil {
		fmt.Fprintf(w, "replay\t%d is %s: %d of %d sent, %d refused\n", r.ID, r.State, r.Sent, r.Selected, r.Refused)
	}
}

// writeRecovery writes the recovery, and the last gap.
func (s *Status) writeRecovery(w io.Writer) {
	switch {
	case s.Recovery == nil:
	case s.Recovery.Running:
		fmt.Fprintf(w, "recovery\tpublishes from the table, up to seq %d so far\n", s.Recovery.PublishedSeq)
	default:
		fmt.Fprintln(w, "recovery\tmarked: the next session of a relay begins with it")
	}
	if g := s.LastGap; g != nil {
		outcome := "being repaired"
		switch {
		case g.RepairedAt == nil && s.Recovery == nil: // repaired by an older relay
			outcome = "published from the table"
		case g.RepairedAt != nil:
			outcome = "published from the table until " + clock(*g.RepairedAt)
		}
		fmt.Fprintf(w, "last gap\t%s: %s; %s\n", clock(g.FoundAt), g.Reason, outcome)
	}
}

func (s *Status) writeDeadLetters(w io.Writer) {
	for _, d := range s.DeadLetters {
		if d.Refused {
			fmt.Fprintf(w, "dead letters\t%d %s at %s, the oldest parked %s ago\n",
				d.Events, d.Code, d.Destination, span.Format(s.At.Sub(d.OldestAt)))
		} else {
			fmt.Fprintf(w, "behind them\t%d at %s, which wait in their aggregates\n", d.Events, d.Destination)
		}
	}
	if len(s.DeadLetters) == 0 {
		fmt.Fprintln(w, "dead letters\tnone")
	}
}

// writeWaiting writes the events that wait in the outbox table: the pauses, and other deferrals.
func (s *Status) writeWaiting(w io.Writer) {
	for _, p := range s.Pauses {
		fmt.Fprintf(w, "paused\t%s since %s%s; about %s in the table\n",
			p.Destination, clock(p.Since), because(p.Reason), span.EventsWait(p.Events))
	}
	for _, d := range s.Deferrals {
		if s.isPaused(d.Destination) {
			continue
		}
		whose, behind := "", ""
		if d.Aggregates > 0 {
			whose = d.ofAggregates()
		}
		if d.isBehind() {
			behind = " behind a dead letter each"
		}
		fmt.Fprintf(w, "deferred\tabout %s%s for %s %s in the table%s since %s\n",
			span.Count(d.Events, "event"), whose, d.Destination, span.Verb(d.Events, "waits", "wait"), behind,
			clock(d.Since))
	}
}

// size returns n bytes in the largest unit in which the number is at least one.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
