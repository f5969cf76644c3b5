package checker

// maxRequest is the maximum number of messages in a request.
const maxRequest = 10

// replayed is the cause of a repetition that an operator requested.
const replayed = "replayed"

// unexplained is the cause of a repetition without any cause.
const unexplained = "unexplained"

// duplicates finds the fault that explains each repeated receipt: the last one between it and the
// receipt before.
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

// repeats explains every receipt after the first.
func (c *check) repeats(receipts []*Receipt) {
	for i := 1; i < len(receipts); i++ {
		first, again := receipts[i-1], receipts[i]
		cause := c.cause(first, again)
		c.report.Duplicates[cause]++
		if cause == unexplained {
			c.violated(Unexplained, again.EventID,
				"arrived at %v from %s and again at %v from %s, without a fault in between",
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

// redrivenBetween reports whether the event was being redriven between the first receipt and the
// second. There are three reasons for that. The relay did not learn of the first acceptance. The
// event was parked when it was streamed again. Or a relay ended before its checkpoint included the
// parked event, so that the next relay streamed it again while its dead letter waited.
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

// fenced finds relays that were frozen or cut off, and still published after another relay had
// acquired the slot. One request may have passed its last check before.
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
			c.violated(Fenced, "",
				"%s was frozen or cut off from %v on (%s), another relay had acquired the slot by %v, and then it "+
					"published %d messages",
				f.Deposed, f.From, f.Kind, f.DeposedAt, late)
		}
	}
}
