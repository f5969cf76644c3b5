package checker

import (
	"slices"
	"time"
)

// aggregate is a message group at its destination: its events have to arrive in order.
type aggregate struct{ destination, table, kind, id string }

func (e *Event) aggregate() aggregate {
	return aggregate{e.Destination, e.Table, e.AggregateType, e.AggregateID}
}

// order compares the first receipts of each aggregate at a FIFO destination with the order of seq.
// Writers lock the aggregate first, so this is the order of their commits.
func (c *check) order() {
	last := map[aggregate]*Row{}
	arrived := map[string]bool{}
	for i := range c.Receipts {
		r := &c.Receipts[i]
		e, row := c.events[r.EventID], c.rows[r.EventID]
		if e == nil || row == nil || arrived[e.ID] || r.Destination != e.Destination ||
			!c.destinations[e.Destination].FIFO {
			continue
		}
		arrived[e.ID] = true
		if c.leftTheOrder(e, r) {
			continue
		}
		if before := last[e.aggregate()]; before != nil && before.Seq > row.Seq {
			if !c.mayReorder(r) && !c.wasSkipped(before.ID, r) {
				c.violated(Reordered, e.ID, "of aggregate %s/%s with seq %d arrived after event %s with seq %d",
					e.AggregateType, e.AggregateID, row.Seq, before.ID, before.Seq)
			}
			continue
		}
		last[e.aggregate()] = row
	}
}

// leftTheOrder reports whether an event was discarded, or parked without blocking later events,
// before it arrived.
func (c *check) leftTheOrder(e *Event, first *Receipt) bool {
	for _, d := range c.deadLetters[e.ID] {
		if d.parkedAt() <= first.At+clocks && (!d.Blocks || d.last().State == discarded) {
			return true
		}
	}
	return false
}

// mayReorder reports whether the destination accepts several events of an aggregate in a request,
// and a request may have failed in part by then.
func (c *check) mayReorder(r *Receipt) bool {
	if !c.destinations[r.Destination].GroupBatches {
		return false
	}
	for _, f := range c.Faults {
		if f.Partial && f.From <= r.At {
			return true
		}
	}
	for i := range c.Events {
		if e := &c.Events[i]; e.Repairable && e.Destination == r.Destination {
			return true
		}
	}
	return false
}

// noticing is the time in which a relay has to notice a changed publication.
const noticing = 2 * time.Second

// wasSkipped reports whether r is late because the stream had omitted its event, and continued with
// a later one.
func (c *check) wasSkipped(behind string, r *Receipt) bool {
	overtook := c.receipts[behind][0].At
	return c.isOmitting(overtook) && overtook < r.At || c.blocksOmitted(behind) || c.wasStranded(r.EventID, overtook)
}

// blocksOmitted reports whether an event became a dead letter while the stream may have omitted
// earlier ones. They come from the table, wait behind the dead letter, and follow its redrive.
func (c *check) blocksOmitted(id string) bool {
	return slices.ContainsFunc(c.deadLetters[id], func(d *DeadLetter) bool {
		return d.Blocks && c.isOmitting(d.parkedAt())
	})
}

// isOmitting reports whether the stream may have omitted events by then, which come later.
func (c *check) isOmitting(at time.Duration) bool {
	return slices.ContainsFunc(c.Faults, func(f Fault) bool {
		return f.Skips && f.From < at && at < f.To+noticing
	})
}

// wasStranded reports whether only the log had an event before a time, because another table had
// taken the place of its table. A recovery publishes the table first.
func (c *check) wasStranded(id string, before time.Duration) bool {
	row := c.rows[id]
	return row != nil && row.Removed && slices.ContainsFunc(c.Faults, func(f Fault) bool {
		return f.Strands && f.From < before
	})
}

// overtaken finds events that were accepted while a parked earlier event of their aggregate blocked
// them.
func (c *check) overtaken() {
	for a, events := range c.aggregates {
		if d := c.destinations[a.destination]; d == nil || !d.FIFO || d.GroupBatches {
			continue
		}
		var blocker *Event
		var until time.Duration // end of the blocking
		for _, e := range events {
			if receipts := c.receipts[e.ID]; len(receipts) > 0 {
				if at := receipts[0].At; blocker != nil && at < until-clocks && !c.wasStranded(blocker.ID, at) &&
					!c.isOmitting(at) {
					c.violated(Reordered, e.ID, "overtook event %s of its aggregate, which was parked", blocker.ID)
				}
				continue
			}
			for _, d := range c.deadLetters[e.ID] {
				if over := d.done(); d.Blocks && over > until {
					blocker, until = e, over
				}
			}
		}
	}
}
