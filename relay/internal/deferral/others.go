package deferral

import (
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// others has the deferrals that select rows by earlier routes.
type others struct {
	groups map[Place][]*held // by the place without its destination
	all    []*held
}

func (o *others) add(h *held) {
	p := h.stored.place()
	if !p.IsGroup() {
		o.all = append(o.all, h)
		return
	}
	if p.Destination = ""; o.groups == nil {
		o.groups = map[Place][]*held{}
	}
	o.groups[p] = append(o.groups[p], h)
}

func (o *others) remove(h *held) {
	p := h.stored.place()
	if !p.IsGroup() {
		o.all = slices.DeleteFunc(o.all, func(other *held) bool { return other == h })
		return
	}
	p.Destination = ""
	o.groups[p] = slices.DeleteFunc(o.groups[p], func(other *held) bool { return other == h })
	if len(o.groups[p]) == 0 {
		delete(o.groups, p)
	}
}

// find returns the first deferral that selects e and is wanted: that of its aggregate before that
// of all events.
func (o *others) find(e *outbox.Envelope, wanted func(*held) bool) *held {
	for _, list := range [][]*held{o.groups[placeOf("", e)], o.all} {
		for _, h := range list {
			if h.selects(e) && wanted(h) {
				return h
			}
		}
	}
	return nil
}
