package checker

// aggregate is a message group as its destination sees it: events that have to come in order.
type aggregate struct{ destination, kind, id string }

func (e *Event) aggregate() aggregate {
	return aggregate{e.Destination, e.AggregateType, e.AggregateID}
}

// order compares the first receipts of each aggregate at a FIFO destination with the order of seq. Writers lock the
// aggregate before they write, so that this is the order of their commits.
func (c *check) order() {
	last := map[aggregate]*Row{}
	arrived := map[string]bool{}
	for i := range c.Receipts {
		r := &c.Receipts[i]
		e, row := c.events[r.EventID], c.rows[r.EventID]
		if e == nil || row == nil || arrived[e.ID] || r.Destination != e.Destination || !c.destinations[e.Destination].FIFO {
			continue
		}
		arrived[e.ID] = true
		if before := last[e.aggregate()]; before != nil && before.Seq > row.Seq {
			c.violated(Reordered, e.ID, "of aggregate %s/%s with seq %d came after event %s with seq %d",
				e.AggregateType, e.AggregateID, row.Seq, before.ID, before.Seq)
			continue
		}
		last[e.aggregate()] = row
	}
}

// parked finds events that were parked for no reason, and events that overtook one that is parked.
func (c *check) parked() {
	blockers := c.blockers()
	for i := range c.Rows {
		e := c.events[c.Rows[i].ID]
		if e == nil {
			continue
		}
		blocker := blockers[e.aggregate()]
		behind := blocker != nil && blocker.Seq < c.Rows[i].Seq
		accepted, deadLetter := len(c.receipts[e.ID]) > 0, c.deadLetters[e.ID]
		switch {
		case e.Poison && accepted:
			c.violated(Broken, e.ID, "is one that no destination takes and was accepted")
		// A request to another destination holds several events of an aggregate, and what it took with the refused one stays.
		case behind && accepted && c.destinations[e.Destination].FIFO:
			c.violated(Reordered, e.ID, "overtook event %s of its aggregate, which is parked", blocker.ID)
		case deadLetter == nil || e.Poison || behind:
		// What was accepted and comes again, after a later event of its aggregate was parked, joins behind that.
		case blocker == nil || !accepted:
			c.violated(Parked, e.ID, "was parked with code %s and nothing is wrong with it", deadLetter.Code)
		}
	}
}

// blockers returns the first refused event of each aggregate that is parked behind it.
func (c *check) blockers() map[aggregate]*Row {
	blockers := map[aggregate]*Row{}
	for i := range c.Rows {
		e := c.events[c.Rows[i].ID]
		if e != nil && e.Poison && blockers[e.aggregate()] == nil && c.destinations[e.Destination].ParksAggregate {
			blockers[e.aggregate()] = &c.Rows[i]
		}
	}
	return blockers
}
