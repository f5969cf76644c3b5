package checker

import (
	"math"
	"slices"
	"time"
)

// States of a dead letter.
const (
	parked    = "parked"
	redriving = "redriving"
	redriven  = "redriven"
	discarded = "discarded"
)

// codeUnavailable is the relay's code of events that were parked because their destination was
// unavailable.
const codeUnavailable = "DestinationUnavailable"

// codeBlocked is the relay's code of events that were parked behind another dead letter.
const codeBlocked = "BlockedGroup"

func (c *check) count(d *DeadLetter) {
	c.report.Parked++
	switch d.last().State {
	case redriven:
		c.report.Redriven++
	case discarded:
		c.report.Discarded++
	}
}

// lost finds events that were neither accepted nor parked, and do not wait behind a dead letter. A
// redriven dead letter is no substitute for an acceptance.
func (c *check) lost() {
	for id, row := range c.rows {
		if len(c.receipts[id]) > 0 || c.hasDeadLetter(id, parked, redriving, discarded) || c.waits(row) {
			continue
		}
		c.violated(Lost, id, "with seq %d was committed, and neither accepted nor parked", row.Seq)
	}
}

// waits reports whether a row waits in the table behind a dead letter of its aggregate, which an
// operator has yet to redrive or discard. A row that came with a table may wait behind one of a
// later row: the deferral does not know that it was written before.
func (c *check) waits(row *Row) bool {
	e := c.events[row.ID]
	return e != nil && row.Waits && slices.ContainsFunc(c.aggregates[e.aggregate()], func(before *Event) bool {
		return c.isBlocking(before) && (c.rows[before.ID].Seq < row.Seq || c.hasSkipped())
	})
}

// hasSkipped reports whether the stream may have omitted rows, which are then read from the table.
func (c *check) hasSkipped() bool {
	return slices.ContainsFunc(c.Faults, func(f Fault) bool { return f.Skips })
}

// isBlocking reports whether a dead letter of an event blocks its aggregate at the end of the run.
func (c *check) isBlocking(e *Event) bool {
	return slices.ContainsFunc(c.deadLetters[e.ID], func(d *DeadLetter) bool {
		return d.Blocks && (d.last().State == parked || d.last().State == redriving)
	})
}

func (c *check) hasDeadLetter(eventID string, states ...string) bool {
	for _, d := range c.deadLetters[eventID] {
		for _, state := range states {
			if d.last().State == state {
				return true
			}
		}
	}
	return false
}

// clocks bounds the difference between the clocks of the server, which dates the changes of dead
// letters, of the broker, and of the reader of the relays' logs.
const clocks = 50 * time.Millisecond

// redriven finds dead letters that count as redriven and were not accepted since the redrive was
// requested.
func (c *check) redriven() {
	for id, letters := range c.deadLetters {
		for _, d := range letters {
			for i := 1; i < len(d.Changes); i++ {
				requested, done := d.Changes[i-1], d.Changes[i]
				if done.State == redriven && !c.accepted(id, requested.At-clocks, done.At+clocks) {
					c.violated(Lost, id,
						"should be redriven from %v on, counts as redriven since %v, and was not accepted in between",
						requested.At, done.At)
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

// discarded compares the number of discarded events with the number reported to the operator.
func (c *check) discarded() {
	reported, found := c.Operator.Discarded, c.report.Discarded
	if found < reported || found > reported && !c.Operator.DiscardedUnknown {
		c.violated(Discarded, "", "%d dead letters are discarded, and %d were reported to the operator", found,
			reported)
	}
}

// parked finds events that were parked without a reason: their destination accepts them and nothing
// blocked them.
func (c *check) parked() {
	for _, events := range c.aggregates {
		var blocked time.Duration // by earlier events, until this time
		for i, e := range events {
			if e.Poison {
				c.poison(e)
			}
			for _, d := range c.deadLetters[e.ID] {
				switch {
				case c.shouldWait(e, d):
					c.violated(Parked, e.ID, "was parked behind a dead letter, although its row waits in the table")
				case e.Poison, c.wasUnavailable(d), c.wasAltered(d), d.Blocks && blocked > 0 &&
					d.parkedAt() < blocked+lateParking:
				case d.Blocks && c.mayComeLate(e, d) && c.refused(events[i:]):
				default:
					c.violated(Parked, e.ID, "was parked with code %s without a reason", d.Changes[0].Code)
				}
				if d.Blocks {
					blocked = max(blocked, d.done())
				}
			}
		}
	}
}

// mayComeLate reports whether the log may bring an event after a later event of its aggregate was
// parked, so that d is parked behind that one: an accepted event, or one that only the log had.
func (c *check) mayComeLate(e *Event, d *DeadLetter) bool {
	return len(c.receipts[e.ID]) > 0 || c.wasStranded(e.ID, d.parkedAt())
}

// shouldWait reports whether an event was parked behind a dead letter, and its row could have
// waited in the table. An accepted event may be parked when it comes again.
func (c *check) shouldWait(e *Event, d *DeadLetter) bool {
	return d.Changes[0].Code == codeBlocked && c.destinations[e.Destination].RowsWait && !e.Emitted &&
		!c.accepted(e.ID, 0, d.parkedAt()+clocks)
}

// done returns the time from which a dead letter no longer blocks others, or nearly the maximum
// duration.
func (d *DeadLetter) done() time.Duration {
	switch d.last().State {
	case redriven, discarded:
		return d.last().At
	}
	return math.MaxInt64 - lateParking
}

// poison finds a poison message that was accepted.
func (c *check) poison(e *Event) {
	for _, r := range c.receipts[e.ID] {
		if !e.Repairable || c.Operator.RepairedAt == 0 || r.At < c.Operator.RepairedAt {
			c.violated(Broken, e.ID, "is a poison message and was accepted at %v", r.At)
			return
		}
	}
}

// refused reports whether one of these events was parked because of itself.
func (c *check) refused(events []*Event) bool {
	for _, e := range events {
		for _, d := range c.deadLetters[e.ID] {
			if e.Poison || c.wasUnavailable(d) || c.wasAltered(d) {
				return true
			}
		}
	}
	return false
}

// lateParking bounds the time from the decision to park an event until its dead letter is stored,
// with a locked table and a slow connection.
const lateParking = 10 * time.Second

// wasUnavailable reports whether d was parked because its destination had accepted nothing for
// ParkAfter. A destination that accepted events without an acknowledgement appeared to be
// unavailable.
func (c *check) wasUnavailable(d *DeadLetter) bool {
	after := c.destinations[d.Destination].ParkAfter
	if after == 0 || d.Changes[0].Code != codeUnavailable || c.lackedCredentials(d, after) {
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

// Attempt is the maximum time from the start of one attempt at a destination to the end of the
// next: the backoff and the timeout of a request.
const Attempt = 2 * time.Second

// lackedCredentials reports whether only the relay's credentials can explain why the destination
// accepted nothing when d was parked. They had failed for longer than the relay needs to notice,
// and until less than after before the parking.
func (c *check) lackedCredentials(d *DeadLetter, after time.Duration) bool {
	to := d.parkedAt()
	failing := false
	for _, f := range c.Faults {
		switch {
		case f.Noticed || f.From > to:
		case f.Identity:
			failing = failing || f.From+Attempt <= to && to <= f.To+after-clocks
		case f.To+Attempt > to-after-Attempt: // another fault at the same time
			return false
		}
	}
	return failing
}

// The relay's code of events for which the destination kept answering with a wrong checksum, and
// the fault that causes this.
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

// stuck finds events that are still parked after all were redriven. The relay redrives in the order
// of parking. An accepted event that was streamed again may be behind a later event of its
// aggregate.
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
		case e.Poison && !e.Repairable:
			blocked[e.aggregate()] = blocked[e.aggregate()] || c.destinations[e.Destination].ParksAggregate
		case !blocked[e.aggregate()]:
			c.violated(Stuck, e.ID, "was redriven without any obstacle, and is still parked")
		}
	}
}
