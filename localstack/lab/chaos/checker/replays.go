package checker

import "slices"

// copies are the receipts of one replay, by event.
type copies map[string][]*Receipt

func (c *check) noteReplayed(r *Receipt) {
	if c.replayed[r.Replay] == nil {
		c.replayed[r.Replay] = copies{}
	}
	of := c.replayed[r.Replay]
	of[r.EventID] = append(of[r.EventID], r)
}

// replays compares the receipts of every replay with its request.
func (c *check) replays() {
	requested := map[string]bool{}
	for i := range c.Replays {
		r := &c.Replays[i]
		requested[r.ID] = true
		c.unasked(r)
		c.replayedInOrder(r)
		c.unsent(r)
	}
	for id, came := range c.replayed {
		if !requested[id] {
			c.violated(Replayed, "", "%d events arrived in replay %s, which was not requested", len(came), id)
		}
	}
}

// unasked finds events that a replay has to exclude because they were not selected, not delivered
// yet, or parked.
func (c *check) unasked(r *Replay) {
	selected := map[string]bool{}
	for _, id := range r.Selected {
		selected[id] = true
	}
	for id, receipts := range c.replayed[r.ID] {
		first := receipts[0]
		switch {
		case !selected[id]:
			c.violated(Replayed, id, "arrived in replay %s, which had not selected it", r.ID)
		case first.At < r.At-clocks:
			c.violated(Replayed, id, "arrived in replay %s at %v, which was requested at %v", r.ID, first.At, r.At)
		case !c.wasDone(id, r):
			c.violated(Replayed, id,
				"arrived in replay %s and had neither been accepted nor parked at its request at %v", r.ID, r.At)
		case c.wasParked(id, r, first):
			c.violated(Replayed, id, "arrived in replay %s at %v and had been parked all the time", r.ID, first.At)
		}
	}
}

// wasDone reports whether an event was delivered or parked when a replay was requested. A parked
// event may be part of the replay if it is no longer parked when the replay reaches it.
func (c *check) wasDone(eventID string, r *Replay) bool {
	if c.accepted(eventID, 0, r.At+clocks) {
		return true
	}
	for _, d := range c.deadLetters[eventID] {
		if d.parkedAt() <= r.At+clocks {
			return true
		}
	}
	return false
}

// wasParked reports whether an event was parked from the request of a replay until it arrived.
func (c *check) wasParked(eventID string, r *Replay, first *Receipt) bool {
	for _, d := range c.deadLetters[eventID] {
		if d.parkedAt() < r.At-clocks && d.done() > first.At+clocks {
			return true
		}
	}
	return false
}

// replayedInOrder compares the first receipts of each aggregate in a replay, at a FIFO destination,
// with the order of seq.
func (c *check) replayedInOrder(r *Replay) {
	last := map[aggregate]*Row{}
	for i := range c.Receipts {
		receipt := &c.Receipts[i]
		came := c.replayed[r.ID][receipt.EventID]
		if receipt.Replay != r.ID || len(came) == 0 || came[0] != receipt || !c.destinations[receipt.Destination].FIFO {
			continue
		}
		of, row := c.events[receipt.EventID].aggregate(), c.rows[receipt.EventID]
		if before := last[of]; before != nil && before.Seq > row.Seq && !c.mayReorder(receipt) {
			c.violated(Replayed, row.ID,
				"of aggregate %s/%s with seq %d arrived in replay %s after event %s with seq %d",
				of.kind, of.id, row.Seq, r.ID, before.ID, before.Seq)
		}
		last[of] = row
	}
}

// unsent finds replays that did not end, or ended without all their events.
func (c *check) unsent(r *Replay) {
	came := c.replayed[r.ID]
	if len(came) < r.Sent {
		c.violated(Replayed, "", "replay %s counts %d events as sent, and %d arrived", r.ID, r.Sent, len(came))
	}
	if r.State != "done" {
		c.violated(Replayed, "", "replay %s was requested at %v and its final state is %s", r.ID, r.At, r.State)
		return
	}
	for _, id := range r.Selected {
		if len(came[id]) == 0 && !c.mayBeExcluded(id, r) {
			c.violated(Replayed, id, "was selected for replay %s, which is done, and did not arrive", r.ID)
		}
	}
}

// mayBeExcluded reports whether an event waited in the table at the request of a replay, or may
// have been removed, parked or refused when the replay reached it. An accepted event also waits if
// its deferral cannot know that it was accepted.
func (c *check) mayBeExcluded(eventID string, r *Replay) bool {
	e, row := c.events[eventID], c.rows[eventID]
	if e == nil || row == nil || row.Removed || row.Waits || e.Poison || c.destinations[e.Destination].ParkAfter > 0 ||
		!c.wasDone(eventID, r) || slices.Contains(r.Waiting[eventID], e.Destination) {
		return true
	}
	for _, d := range c.deadLetters[eventID] {
		if d.done() >= r.At-clocks {
			return true
		}
	}
	return false
}
