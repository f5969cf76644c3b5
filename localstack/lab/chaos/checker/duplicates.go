package checker

// maxRequest is how many messages a request holds at most.
const maxRequest = 10

// replayed is the cause of a copy that an operator asked for.
const replayed = "replayed"

// unexplained is the cause of a duplicate for which there is none.
const unexplained = "unexplained"

// duplicates finds for each repeated receipt the fault that explains it: the last one between it and the receipt before.
func (c *check) duplicates() {
	for _, receipts := range c.receipts {
		c.repeats(receipts)
	}
	for _, copies := range c.replayed {
		c.report.Duplicates[replayed] += len(copies)
		for _, receipts := range copies {
			c.repeats(receipts)
		}
	}
}

// repeats explains every receipt but the first.
func (c *check) repeats(receipts []*Receipt) {
	for i := 1; i < len(receipts); i++ {
		first, again := receipts[i-1], receipts[i]
		cause := c.cause(first, again)
		c.report.Duplicates[cause]++
		if cause == unexplained {
			c.violated(Unexplained, again.EventID, "came at %v from %s and again at %v from %s, and nothing had happened in between",
				first.At, first.Relay, again.At, again.Relay)
		}
	}
}

func (c *check) cause(first, again *Receipt) string {
	if again.Replay == "" && c.redrivenBetween(first, again) {
		return redriven
	}
	cause, noticed := unexplained, unexplained
	for _, f := range c.Faults {
		switch {
		case !f.Repeats || f.From > again.At || f.To+inFlight < first.At:
		case f.Noticed:
			noticed = f.Kind
		default:
			cause = f.Kind
		}
	}
	if cause == unexplained {
		return noticed
	}
	return cause
}

// redrivenBetween reports whether an event was to be redriven at some moment between the first time that it came and the second: its
// first acceptance was not known to the relay, or it was parked when it came again, or it came from the log once more, because
// its being parked was not in the checkpoint of a relay that died, while its dead letter waited.
func (c *check) redrivenBetween(first, again *Receipt) bool {
	for _, d := range c.deadLetters[again.EventID] {
		for i, change := range d.Changes {
			ended := i+1 < len(d.Changes) && d.Changes[i+1].At < first.At-clocks
			if change.State == redriving && change.At <= again.At+clocks && !ended {
				return true
			}
		}
	}
	return false
}

// fenced finds relays that went on publishing after another one had taken over, when they had been frozen or cut off. One
// request may have passed its last check before.
func (c *check) fenced() {
	for _, f := range c.Faults {
		if f.Deposed == "" {
			continue
		}
		late := 0
		for i := range c.Receipts {
			if r := &c.Receipts[i]; r.Relay == f.Deposed && r.At > f.DeposedAt && r.At < f.Rejoined-clocks {
				late++
			}
		}
		if late > maxRequest {
			c.violated(Fenced, "", "%s was out of the way from %v on (%s), another relay had taken over by %v, and then it published %d messages",
				f.Deposed, f.From, f.Kind, f.DeposedAt, late)
		}
	}
}
