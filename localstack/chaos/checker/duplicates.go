package checker

// maxRequest is how many messages a request holds at most.
const maxRequest = 10

// unexplained is the cause of a duplicate for which there is none.
const unexplained = "unexplained"

// duplicates finds for each repeated receipt the fault that explains it: the last one between it and the receipt before.
func (c *check) duplicates() {
	for id, receipts := range c.receipts {
		for i := 1; i < len(receipts); i++ {
			cause := c.cause(receipts[i-1], receipts[i])
			c.report.Duplicates[cause]++
			if cause == unexplained {
				c.violated(Unexplained, id, "came at %v from %s and again at %v from %s, and nothing had happened in between",
					receipts[i-1].At, receipts[i-1].Relay, receipts[i].At, receipts[i].Relay)
			}
		}
	}
}

func (c *check) cause(first, again *Receipt) string {
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

// fenced finds relays that went on publishing after they had been frozen and another one had taken over. One request
// may have passed its last check before the freeze.
func (c *check) fenced() {
	for _, f := range c.Faults {
		if f.Frozen == "" {
			continue
		}
		late := 0
		for i := range c.Receipts {
			if r := &c.Receipts[i]; r.Relay == f.Frozen && r.At > f.To && r.At < f.Rejoined {
				late++
			}
		}
		if late > maxRequest {
			c.violated(Fenced, "", "%s was frozen from %v to %v, another relay took over, and then it published %d messages",
				f.Frozen, f.From, f.To, late)
		}
	}
}
