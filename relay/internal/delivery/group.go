package delivery

import "time"

// group holds the events of one message group that are neither delivered nor in flight, in order.
type group struct {
	key         string
	state       groupState
	first, last *Event
	load        load
	failed      bool          // an event of its last batch failed
	failures    int           // consecutive batches with a failed event
	retryAt     time.Time     // while the group waits
	next        *group        // while the group is ready
	holders     int           // holds that are not released
	held        chan struct{} // while the group is to be held; closed once its request has ended
}

type groupState uint8

const (
	groupReady groupState = iota
	groupInFlight
	groupWaiting
	groupHeld
)

func (g *group) append(e *Event) {
	e.group, e.next = g, nil
	if g.last == nil {
		g.first = e
	} else {
		g.last.next = e
	}
	g.last = e
	g.load.add(load{1, e.size})
}

func (g *group) prepend(e *Event) {
	e.group, e.next = g, g.first
	g.first = e
	if g.last == nil {
		g.last = e
	}
	g.load.add(load{1, e.size})
}

func (g *group) pop() *Event {
	e := g.first
	g.first, e.next = e.next, nil
	if g.first == nil {
		g.last = nil
	}
	g.load.sub(load{1, e.size})
	return e
}

// load counts events and their bytes.
type load struct{ events, bytes int }

func (l *load) add(m load) { l.events, l.bytes = l.events+m.events, l.bytes+m.bytes }
func (l *load) sub(m load) { l.events, l.bytes = l.events-m.events, l.bytes-m.bytes }

// groupList is a first-in, first-out list of ready groups.
type groupList struct {
	first, last *group
}

func (l *groupList) push(g *group) {
	g.next = nil
	if l.last == nil {
		l.first = g
	} else {
		l.last.next = g
	}
	l.last = g
}

func (l *groupList) pushFirst(g *group) {
	g.next = l.first
	l.first = g
	if l.last == nil {
		l.last = g
	}
}

// remove takes a group of the list out of it.
func (l *groupList) remove(g *group) {
	var before *group
	for other := l.first; other != g; other = other.next {
		before = other
	}
	if l.last == g {
		l.last = before
	}
	if before == nil {
		l.first = g.next
	} else {
		before.next = g.next
	}
	g.next = nil
}

func (l *groupList) pop() *group {
	g := l.first
	l.first, g.next = g.next, nil
	if l.first == nil {
		l.last = nil
	}
	return g
}

// groupHeap is a container/heap of waiting groups. The group whose backoff ends first is on top.
type groupHeap []*group

func (h groupHeap) Len() int           { return len(h) }
func (h groupHeap) Less(i, j int) bool { return h[i].retryAt.Before(h[j].retryAt) }
func (h groupHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *groupHeap) Push(g any)        { *h = append(*h, g.(*group)) }

func (h *groupHeap) Pop() any {
	old := *h
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return g
}
