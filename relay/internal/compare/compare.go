// Package compare finds the events that one of two publishers did not deliver, delivered twice, or
// delivered in another order. It reads two lists of event ids in the order of delivery. It serves a
// team that runs the relay in parallel to its former publisher before it switches.
package compare

// Side describes the deliveries of one publisher, compared with those of the other one.
type Side struct {
	Events   int `json:"events"`   // distinct events
	Repeated int `json:"repeated"` // deliveries of an event after its first
	// Before counts the events of this side alone that precede the first event of both sides: the
	// other publisher began later. After counts those that follow the last event of both sides: the
	// other publisher has not reached them yet.
	Before int `json:"before"`
	After  int `json:"after"`
	// Only has the ids of the remaining events of this side alone. The other publisher delivered
	// later events, and not these.
	Only []string `json:"only"`
}

// Reordered is a pair of events of one group. The first list has First before Second, and the
// second list has it after.
type Reordered struct {
	Group  string `json:"group"`
	First  string `json:"first"`
	Second string `json:"second"`
}

// Result is the result of a comparison.
type Result struct {
	Both      int         `json:"both"` // events that both lists have
	First     Side        `json:"first"`
	Second    Side        `json:"second"`
	Reordered []Reordered `json:"reordered"` // one for each group
}

// Agrees reports whether both publishers delivered the same events in the same order, as far as
// both have come.
func (r Result) Agrees() bool {
	return r.Both > 0 && len(r.First.Only) == 0 && len(r.Second.Only) == 0 && len(r.Reordered) == 0
}

// Of compares two lists.
func Of(first, second *List) Result {
	r := Result{First: first.sideOf(second), Second: second.sideOf(first), Reordered: reordered(first, second)}
	for _, d := range first.deliveries {
		if second.has(d.id) {
			r.Both++
		}
	}
	return r
}

// sideOf returns the side of l in a comparison with another list.
func (l *List) sideOf(other *List) Side {
	s := Side{Events: len(l.deliveries), Repeated: l.repeated, Only: []string{}}
	var since []string // after the last event of both sides
	begun := false
	for _, d := range l.deliveries {
		switch {
		case !other.has(d.id):
			since = append(since, d.id)
		case !begun:
			begun, s.Before, since = true, len(since), nil
		default:
			s.Only, since = append(s.Only, since...), nil
		}
	}
	s.After = len(since)
	return s
}

// reordered returns the first pair of each group that the second list has in another order.
func reordered(first, second *List) []Reordered {
	all := []Reordered{}
	last := map[string]delivery{} // the last delivery of each group that both lists have
	found := map[string]bool{}
	for _, d := range first.deliveries {
		if d.group == "" || found[d.group] || !second.has(d.id) {
			continue
		}
		if before, ok := last[d.group]; ok && second.at[before.id] > second.at[d.id] {
			all = append(all, Reordered{d.group, before.id, d.id})
			found[d.group] = true
		}
		last[d.group] = d
	}
	return all
}
