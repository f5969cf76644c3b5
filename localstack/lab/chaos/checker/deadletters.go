package checker

import (
	"math"
	"time"
)

// States of a dead letter.
const (
	parked    = "parked"
	redriving = "redriving"
	redriven  = "redriven"
	discarded = "discarded"
)

// codeUnavailable is the relay's code for events that were parked because their destination took nothing.
const codeUnavailable = "DestinationUnavailable"

func (c *check) count(d *DeadLetter) {
	c.report.Parked++
	switch d.last().State {
	case redriven:
		c.report.Redriven++
	case discarded:
		c.report.Discarded++
	}
}

// lost finds events of which nothing is left. A dead letter that was redriven is no excuse.
func (c *check) lost() {
	for id, row := range c.rows {
		if len(c.receipts[id]) > 0 || c.hasLetter(id, parked, redriving, discarded) {
			continue
		}
		c.violated(Lost, id, "with seq %d was committed, and neither accepted nor parked", row.Seq)
	}
}

func (c *check) hasLetter(eventID string, states ...string) bool {
	for _, d := range c.deadLetters[eventID] {
		for _, state := range states {
			if d.last().State == state {
				return true
			}
		}
	}
	return false
}

// clocks may differ by so much: that of the server, which says when a dead letter changed, that of the broker, and that by which a
// relay's log is read.
const clocks = 50 * time.Millisecond

// redriven finds dead letters that count as redriven, and were not accepted since that was asked for.
func (c *check) redriven() {
	for id, letters := range c.deadLetters {
		for _, d := range letters {
			for i := 1; i < len(d.Changes); i++ {
				asked, done := d.Changes[i-1], d.Changes[i]
				if done.State == redriven && !c.accepted(id, asked.At-clocks, done.At+clocks) {
					c.violated(Lost, id, "was to be redriven from %v on, counts as redriven since %v, and was not accepted in between", asked.At, done.At)
				}
			}
		}
	}
}

func (c *check) accepted(eventID string, from, to time.Duration) bool {
	for _, r := range c.receipts[eventID] {
		if from <= r.At && r.At <= to {
			return true
		}
	}
	return false
}

// discarded compares the events that were given up with what the operator was told.
func (c *check) discarded() {
	told, found := c.Operator.Discarded, c.report.Discarded
	if found < told || found > told && !c.Operator.DiscardedUnknown {
		c.violated(Discarded, "", "%d dead letters are discarded, and the operator was told of %d", found, told)
	}
}

// parked finds events that were parked for no reason: they would be taken, and nothing blocked them.
func (c *check) parked() {
	for _, events := range c.aggregates {
		var blocked time.Duration // until then, by those before
		for i, e := range events {
			if e.Poison {
				c.poison(e)
			}
			for _, d := range c.deadLetters[e.ID] {
				switch {
				case e.Poison, c.wasAway(d), c.wasAltered(d), d.Blocks && blocked > 0 && d.parkedAt() < blocked+lateParking:
				// What was accepted and comes again, after a later event of its aggregate was parked, joins behind that.
				case d.Blocks && len(c.receipts[e.ID]) > 0 && c.refused(events[i:]):
				default:
					c.violated(Parked, e.ID, "was parked with code %s and nothing is wrong with it", d.Changes[0].Code)
				}
				if d.Blocks {
					blocked = max(blocked, d.done())
				}
			}
		}
	}
}

// done returns when a dead letter ceased to block others, or the end of days.
func (d *DeadLetter) done() time.Duration {
	switch d.last().State {
	case redriven, discarded:
		return d.last().At
	}
	return math.MaxInt64 - lateParking
}

// poison finds an event that was accepted though its destination does not take it.
func (c *check) poison(e *Event) {
	for _, r := range c.receipts[e.ID] {
		if !e.Mendable || c.Operator.MendedAt == 0 || r.At < c.Operator.MendedAt {
			c.violated(Broken, e.ID, "is one that its destination did not take and was accepted at %v", r.At)
			return
		}
	}
}

// refused reports whether one of these events was parked for its own sake.
func (c *check) refused(events []*Event) bool {
	for _, e := range events {
		for _, d := range c.deadLetters[e.ID] {
			if e.Poison || c.wasAway(d) || c.wasAltered(d) {
				return true
			}
		}
	}
	return false
}

// lateParking is how long after the decision to park it a dead letter may be stored: its table may be locked, and the way to
// the server slow.
const lateParking = 10 * time.Second

// wasAway reports whether d was parked because its destination had taken nothing for as long as the settings say. Where it
// took what it did not admit, it seemed to be away.
func (c *check) wasAway(d *DeadLetter) bool {
	after := c.destinations[d.Destination].ParkAfter
	if after == 0 || d.Changes[0].Code != codeUnavailable || c.wasUnsigned(d, after) {
		return false
	}
	from, to := d.parkedAt()-lateParking, d.parkedAt()
	for _, f := range c.Faults {
		if f.Hides && f.From < to && from < f.To {
			return true
		}
	}
	last := time.Duration(0)
	for i := range c.Receipts {
		r := &c.Receipts[i]
		if r.Destination != d.Destination {
			continue
		}
		if r.At > from && last < to && r.At-last >= after-clocks {
			return true
		}
		last = r.At
	}
	return last < to && to-last >= after-clocks
}

// Attempt is how long a relay of a run takes at most from one attempt at a destination to the end of the next: the backoff
// and the time limit of a request.
const Attempt = 2 * time.Second

// wasUnsigned reports whether nothing but the relay's credentials can be why the destination took nothing when d was parked:
// they were at fault for longer than the relay takes to find that out, until less than after before.
func (c *check) wasUnsigned(d *DeadLetter, after time.Duration) bool {
	to := d.parkedAt()
	unsigned := false
	for _, f := range c.Faults {
		switch {
		case f.Noticed || f.From > to:
		case f.Identity:
			unsigned = unsigned || f.From+Attempt <= to && to <= f.To+after-clocks
		case f.To+Attempt > to-after-Attempt: // another fault at the same time
			return false
		}
	}
	return unsigned
}

// The relay's code for events whose body arrived as another one time and again, and the fault that does this.
const (
	codeAltered   = "ChecksumMismatch"
	wrongChecksum = "broker: wrong checksum"
)

// wasAltered reports whether d was parked because the destination answered with wrong checksums.
func (c *check) wasAltered(d *DeadLetter) bool {
	if d.Changes[0].Code != codeAltered {
		return false
	}
	from, to := d.parkedAt()-lateParking, d.parkedAt()
	for _, f := range c.Faults {
		if f.Kind == wrongChecksum && f.From < to && from < f.To {
			return true
		}
	}
	return false
}

// stuck finds events that are still parked after everything was redriven. They are sent in the order in which they were parked:
// what had been accepted and came again may stand behind a later event of its aggregate.
func (c *check) stuck() {
	if !c.Operator.RedroveAll {
		return
	}
	blocked := map[aggregate]bool{}
	for i := range c.DeadLetters {
		d := &c.DeadLetters[i]
		e, state := c.events[d.EventID], d.last().State
		switch {
		case e == nil || state != parked && state != redriving:
		case e.Poison && !e.Mendable:
			blocked[e.aggregate()] = blocked[e.aggregate()] || c.destinations[e.Destination].ParksAggregate
		case !blocked[e.aggregate()]:
			c.violated(Stuck, e.ID, "was redriven, nothing was in its way, and it is still parked")
		}
	}
}
