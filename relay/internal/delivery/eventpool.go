package delivery

import (
	"sync"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// maxSpare bounds the memory of an [eventPool], at about 700 bytes an event.
const maxSpare = 4096

// eventPool reuses the memory of delivered events. Events come back a batch at a time and in
// another goroutine than the one that takes them. A [sync.Pool] costs more then: it locks for each
// event, and each garbage collection empties it.
type eventPool struct {
	mu     sync.Mutex
	events []*Event
}

// usualAttributes is how many attributes an event of our own table has, with those of a trace.
// Events with more are rare, and their memory grows.
const usualAttributes = 7

// get returns an empty event whose Attributes have capacity.
func (p *eventPool) get() *Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.events) - 1
	if last < 0 {
		return &Event{Message: sink.Message{Attributes: make([]sink.Attribute, 0, usualAttributes)}}
	}
	e := p.events[last]
	p.events[last] = nil
	p.events = p.events[:last]
	return e
}

// put makes the memory of events available again. No goroutine may hold them any more.
func (p *eventPool) put(events []*Event) {
	for _, e := range events {
		attributes := e.Message.Attributes
		clear(attributes)
		*e = Event{}
		e.Message.Attributes = attributes[:0]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, events[:min(len(events), maxSpare-len(p.events))]...)
}
