package delivery

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestSchedulerKeepsGroupsInOrder drives a scheduler with random groups, sizes, outcomes and times,
// and compares its batches with the pushed events.
func TestSchedulerKeepsGroupsInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newSchedulerModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"":       m.check,
			"push":   m.push,
			"push 2": m.push,
			"take":   m.take,
			"done":   m.done,
			"wait":   m.wait,
			"hold":   m.hold,
		})
		m.finish(t)
	})
}

var errBroker = errors.New("the broker is unavailable")

type schedulerModel struct {
	s        *scheduler
	now      time.Time
	open     map[string][]*Event // pushed and not delivered, by group, in order
	inFlight [][]*Event
	pushed   int
	finished map[*Event]bool
	held     map[string]<-chan struct{} // groups that are held

	failedAt time.Time // zero unless the last request that was sent delivered nothing
}

func newSchedulerModel(t *rapid.T) *schedulerModel {
	limits := sink.Limits{
		FIFO:            rapid.Bool().Draw(t, "FIFO"),
		MaxMessageBytes: 100,
		MaxBatchBytes:   rapid.SampledFrom([]int{100, 300, 10_000}).Draw(t, "batch bytes"),
	}
	options := Options{
		InFlight:      rapid.IntRange(1, 4).Draw(t, "in flight"),
		EagerInFlight: rapid.IntRange(1, 3).Draw(t, "eager"),
		Linger:        rapid.SampledFrom([]time.Duration{0, 5 * time.Millisecond}).Draw(t, "linger"),
		GroupBatches:  rapid.Bool().Draw(t, "group batches"),
		Backoff:       Backoff{Min: 10 * time.Millisecond, Max: time.Second},
	}
	return &schedulerModel{
		s:        newScheduler(limits, options, map[string]string{"blocked": "earlier"}),
		now:      time.Unix(1_000_000, 0),
		open:     map[string][]*Event{},
		finished: map[*Event]bool{},
		held:     map[string]<-chan struct{}{},
	}
}

var modelGroups = []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "blocked"}

// hold holds a group, or withdraws an event of a held one and releases it.
func (m *schedulerModel) hold(t *rapid.T) {
	group := rapid.SampledFrom(modelGroups).Draw(t, "group")
	idle, isHeld := m.held[group]
	if !isHeld {
		m.held[group] = m.s.hold(group)
		return
	}
	select {
	case <-idle:
		m.withdraw(group)
	default:
	}
	m.release(group)
}

func (m *schedulerModel) release(group string) {
	m.s.release(group, m.now)
	delete(m.held, group)
}

// withdraw takes the last event of a group.
func (m *schedulerModel) withdraw(group string) {
	events := m.open[group]
	if len(events) == 0 {
		return
	}
	last := events[len(events)-1]
	m.s.groups[group].remove(func(e *Event) bool { return e == last })
	m.finished[last] = true
	if m.open[group] = events[:len(events)-1]; len(m.open[group]) == 0 {
		delete(m.open, group)
	}
}

// checkHeld expects that a group is idle if no request has events of it.
func (m *schedulerModel) checkHeld(t *rapid.T) {
	for group, idle := range m.held {
		isInFlight := slices.ContainsFunc(m.inFlight, func(batch []*Event) bool {
			return slices.ContainsFunc(batch, func(e *Event) bool { return e.Message.GroupID == group })
		})
		select {
		case <-idle:
			if isInFlight {
				t.Fatalf("group %s is idle, and a request has events of it", group)
			}
		default:
			if !isInFlight {
				t.Fatalf("group %s is not idle, and no request has events of it", group)
			}
		}
	}
}

// free returns how many groups with events are not held.
func (m *schedulerModel) free() (groups int) {
	for group := range m.open {
		if m.held[group] == nil {
			groups++
		}
	}
	return groups
}

func (m *schedulerModel) push(t *rapid.T) {
	group := rapid.SampledFrom(modelGroups).Draw(t, "group")
	m.pushed++
	e := &Event{
		Message: sink.Message{EventID: strconv.Itoa(m.pushed), GroupID: group},
		size:    rapid.IntRange(1, m.s.limits.MaxMessageBytes).Draw(t, "size"),
	}
	if rapid.IntRange(0, 9).Draw(t, "invalid") == 0 {
		e.size += m.s.limits.MaxBatchBytes
		e.rejection = &sink.RejectedError{Code: "InvalidParameterValue"}
	}
	m.open[group] = append(m.open[group], e)
	m.s.push(e, m.now)
}

func (m *schedulerModel) take(t *rapid.T) {
	batch, again := m.s.take(m.now)
	if batch == nil {
		m.checkPause(t, again)
		return
	}
	m.checkBatch(t, batch)
	m.inFlight = append(m.inFlight, batch)
}

// checkPause expects that asking again at the given time makes progress, and that the caller does
// not ask in a loop.
func (m *schedulerModel) checkPause(t *rapid.T, again time.Time) {
	switch {
	case !again.IsZero() && !again.After(m.now):
		t.Fatalf("asked to come again at once")
	case again.IsZero() && len(m.inFlight) == 0 && m.free() > 0:
		t.Fatalf("%d groups have events, nothing is in flight, and no time to ask again is set", m.free())
	}
}

func (m *schedulerModel) checkBatch(t *rapid.T, batch []*Event) {
	bytes := 0
	taken := map[string]int{}
	for _, e := range batch {
		group := e.Message.GroupID
		if m.held[group] != nil {
			t.Fatalf("group %s is held and gave event %s", group, e.Message.EventID)
		}
		if want := m.open[group][taken[group]]; e != want {
			t.Fatalf("group %s gave event %s before %s", group, e.Message.EventID, want.Message.EventID)
		}
		if (e.blockedBy != "") != (m.s.blocked[group] != "") {
			t.Fatalf("event %s of group %s is blocked by %q", e.Message.EventID, group, e.blockedBy)
		}
		taken[group]++
		bytes += e.size
	}
	if len(batch) == 0 || len(batch) > sink.MaxBatch || len(batch) > 1 && bytes > m.s.limits.MaxBatchBytes {
		t.Fatalf("a batch of %d events and %d bytes", len(batch), bytes)
	}
	m.checkGroups(t, taken)
	if len(m.inFlight) >= m.s.options.InFlight {
		t.Fatalf("%d requests in flight beside this one", len(m.inFlight))
	}
	if !m.failedAt.IsZero() && (len(m.inFlight) > 0 || m.now.Before(m.failedAt.Add(m.s.options.Backoff.Min/2))) {
		t.Fatalf("%s after a failure, with %d requests in flight, another one starts", m.now.Sub(m.failedAt),
			len(m.inFlight))
	}
}

func (m *schedulerModel) checkGroups(t *rapid.T, taken map[string]int) {
	for group, n := range taken {
		if n > 1 && m.s.limits.FIFO && !m.s.options.GroupBatches {
			t.Fatalf("%d events of group %s in one batch", n, group)
		}
		for _, other := range m.inFlight {
			if slices.ContainsFunc(other, func(e *Event) bool { return e.Message.GroupID == group }) {
				t.Fatalf("group %s has two requests in flight", group)
			}
		}
	}
}

func (m *schedulerModel) done(t *rapid.T) {
	if len(m.inFlight) == 0 {
		t.Skip("nothing is in flight")
	}
	i := rapid.IntRange(0, len(m.inFlight)-1).Draw(t, "request")
	batch := m.inFlight[i]
	m.inFlight = slices.Delete(m.inFlight, i, i+1)

	outcome := rapid.SampledFrom([]string{"taken", "failed", "throttled", "in part"}).Draw(t, "outcome")
	for _, e := range batch {
		e.err = nil
		local := e.blockedBy != "" || e.rejection != nil
		if !local && (outcome == "failed" || outcome == "in part" && rapid.Bool().Draw(t, "entry failed")) {
			e.err = errBroker
		}
		if !local && outcome == "throttled" {
			e.err = errThrottled
		}
		if e.rejection != nil && m.s.limits.FIFO {
			m.s.block(e.Message.GroupID, e.Message.EventID)
		}
	}
	m.settle(t, batch)
}

// settle returns batch to the scheduler and removes delivered events from the model.
func (m *schedulerModel) settle(t *rapid.T, batch []*Event) {
	throttled := slices.ContainsFunc(batch, func(e *Event) bool { return errors.Is(e.err, errThrottled) })
	sent, took := false, false
	for _, e := range batch {
		if e.blockedBy == "" && e.rejection == nil {
			sent, took = true, took || e.err == nil
		}
		if e.err != nil {
			continue
		}
		if m.finished[e] {
			t.Fatalf("event %s was delivered twice", e.Message.EventID)
		}
		m.finished[e] = true
		group := e.Message.GroupID
		m.open[group] = slices.DeleteFunc(m.open[group], func(o *Event) bool { return o == e })
		if len(m.open[group]) == 0 {
			delete(m.open, group)
		}
	}
	switch {
	case took:
		m.failedAt = time.Time{}
	case sent && m.failedAt.IsZero() && !(throttled && m.s.pacer.Works(m.now)):
		m.failedAt = m.now
	}
	m.s.done(batch, m.now)
}

func (m *schedulerModel) wait(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
}

// check compares the scheduler's counters with its groups.
func (m *schedulerModel) check(t *rapid.T) {
	var sendable load
	for _, g := range m.s.groups {
		for e := g.first; e != nil && g.state == groupReady; e = e.next {
			sendable.add(load{1, e.size})
			if m.s.oneOfGroup() {
				break
			}
		}
	}
	if m.s.sendable != sendable {
		t.Fatalf("sendable is %+v, the ready groups have %+v", m.s.sendable, sendable)
	}
	if m.s.inFlight != len(m.inFlight) {
		t.Fatalf("%d requests in flight, the queue knows of %d", len(m.inFlight), m.s.inFlight)
	}
	idle := 0 // held without events
	for group := range m.held {
		if m.open[group] == nil {
			idle++
		}
	}
	if len(m.s.groups) != len(m.open)+idle {
		t.Fatalf("the queue keeps %d groups, %d have events and %d are held", len(m.s.groups), len(m.open), idle)
	}
	m.checkHeld(t)
}

// finish lets every request succeed and expects that all pushed events are delivered then.
func (m *schedulerModel) finish(t *rapid.T) {
	for group := range m.held {
		m.release(group)
	}
	for round := 0; len(m.finished) < m.pushed; round++ {
		if round > 10*m.pushed+10 {
			t.Fatalf("%d of %d events delivered after %d rounds without a fault", len(m.finished), m.pushed, round)
		}
		batch, again := m.s.take(m.now)
		switch {
		case batch != nil:
			m.checkBatch(t, batch)
			m.inFlight = append(m.inFlight, batch)
		case len(m.inFlight) > 0:
			done := m.inFlight[0]
			m.inFlight = m.inFlight[1:]
			for _, e := range done {
				e.err = nil
			}
			m.settle(t, done)
		default:
			m.checkPause(t, again)
			m.now = again
		}
		m.check(t)
	}
	if len(m.s.groups) != 0 || m.s.sendable != (load{}) || m.s.inFlight != 0 || len(m.s.waiting) != 0 {
		t.Fatalf("all is delivered, the queue keeps %d groups, %d of them waiting", len(m.s.groups), len(m.s.waiting))
	}
}
