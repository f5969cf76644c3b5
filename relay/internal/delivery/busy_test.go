package delivery_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// wide is a destination with more than enough requests.
func wide(r *fixture, _ []delivery.Destination) {
	r.options.InFlight, r.options.EagerInFlight = 256, 256
}

// none refuses no group.
func none(string) bool { return false }

// eventOf returns an event of a group.
func eventOf(group string, n int) *delivery.Event {
	id := fmt.Sprintf("%s-%d", group, n)
	return &delivery.Event{Message: sink.Message{EventID: id, Body: "{}", GroupID: group, DeduplicationID: id}}
}

func TestTheBusiestGroupIsFarBehindTheOthers(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(time.Second, takeAll))
		for i := range 9 {
			r.send(0, eventOf("busy", i), eventOf(fmt.Sprint("other", i), 0))
		}
		if busy := r.delivery.Busy(0, none); len(busy) != 1 || busy[0].Group != "busy" || busy[0].Events != 8 {
			r.t.Errorf("busy groups: %+v", busy)
		}
		r.elapse(time.Second)
		if busy := r.delivery.Busy(0, none); busy != nil {
			r.t.Errorf("%+v needs seven requests", busy)
		}
	}, wide)
}

// TestTheOldestOfTheBusyGroupsIsNamed: a group with more events has waited for less time.
func TestTheOldestOfTheBusyGroupsIsNamed(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(time.Second, takeAll))
		for i := range 30 {
			if i < 10 {
				r.send(0, eventOf("old", i))
			}
			r.send(0, eventOf("large", i))
		}
		busy := r.delivery.Busy(0, none)
		if len(busy) != 2 || busy[0].Group != "old" || busy[1].Group != "large" {
			r.t.Errorf("busy groups: %+v", busy)
		}
	}, wide)
}

// TestRefusedGroupsHideNoOther: two groups with more events, which also wait longer, cannot be
// deferred.
func TestRefusedGroupsHideNoOther(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(time.Second, takeAll))
		for i := range 30 {
			r.send(0, eventOf("first", i), eventOf("second", i))
			if i < 20 {
				r.send(0, eventOf("third", i))
			}
		}
		refused := func(group string) bool { return group != "third" }
		if busy := r.delivery.Busy(0, refused); len(busy) != 1 || busy[0].Group != "third" {
			r.t.Errorf("busy groups: %+v", busy)
		}
	}, wide)
}

func TestNoGroupIsBusyIfAllAreBehind(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(time.Second, takeAll))
		for i := range 20 {
			for group := range 65 {
				r.send(0, eventOf(fmt.Sprint("group", group), i))
			}
		}
		if busy := r.delivery.Busy(0, none); busy != nil {
			r.t.Errorf("%+v is as far behind as 64 others", busy)
		}
	}, wide)
}

func TestNoGroupIsBusyWhileItsDestinationIsDown(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(failAll(errUnavailable))
		for i := range 20 {
			r.send(0, eventOf("busy", i))
		}
		r.elapse(time.Minute)
		if busy := r.delivery.Busy(0, none); busy != nil {
			r.t.Errorf("%+v", busy)
		}
	})
}

func TestAHeldGroupGetsNoRequest(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(time.Second, takeAll))
		r.sendIDs(0, "a1 a2 b1 b2")
		release, err := r.delivery.HoldGroup(r.t.Context(), 0, "a")
		if err != nil {
			r.t.Fatal(err)
		}
		r.sendIDs(0, "a3 c1")
		r.elapse(time.Minute)
		r.expectTaken(0, "a1 b1 b2 c1")
		r.delivery.HandOver(r.delivery.WithdrawGroup(0, "a", func(e *delivery.Event) bool {
			return e.Message.EventID == "a2"
		}))
		release()
		r.elapse(time.Minute)
		r.expectTaken(0, "a1 a3 b1 b2 c1")
		r.expectOpen(0)
	})
}

// TestAGroupIsHeldUntilItsLastRelease: a pass and the watcher of the window hold the same group,
// while a request has one of its events.
func TestAGroupIsHeldUntilItsLastRelease(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(time.Second, takeAll))
		r.sendIDs(0, "a1 a2")
		var releases []func()
		holding := make(chan func(), 2)
		for range 2 {
			go func() {
				ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
				defer cancel()
				release, err := r.delivery.HoldGroup(ctx, 0, "a")
				if err != nil {
					r.t.Error(err)
					release = func() {}
				}
				holding <- release
			}()
		}
		for range 2 {
			releases = append(releases, <-holding)
		}
		releases[0]()
		r.elapse(time.Minute)
		r.expectTaken(0, "a1")
		releases[1]()
		r.elapse(time.Minute)
		r.expectTaken(0, "a1 a2")
	})
}

func TestAnEmptyGroupCanBeHeld(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		release, err := r.delivery.HoldGroup(r.t.Context(), 0, "a")
		if err != nil {
			r.t.Fatal(err)
		}
		r.sendIDs(0, "a1")
		r.elapse(time.Minute)
		r.expectTaken(0, "")
		release()
		r.elapse(time.Minute)
		r.expectTaken(0, "a1")
		release, err = r.delivery.HoldGroup(r.t.Context(), 0, "a")
		if err != nil {
			r.t.Fatal(err)
		}
		release()
		r.sendIDs(0, "a2")
		r.elapse(time.Minute)
		r.expectTaken(0, "a1 a2")
	})
}

// busyLoad is 600 events a second, of which one group gets 100. The events of that group are handed
// over once it is busy, as package deferral does it.
type busyLoad struct {
	*fixture
	window int
	others int // events
	waits  bool
}

// TestABusyGroupDelaysNoOther: the destination takes 15 ms, so the group is sent 66 a second.
func TestABusyGroupDelaysNoOther(t *testing.T) {
	t.Parallel()
	const window = 8192
	bounded := func(r *fixture, _ []delivery.Destination) {
		r.tracker = checkpoint.NewTracker(checkpoint.Window{Events: window, Bytes: 1 << 30}, checkpoint.Position{})
	}
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].forgetful = true
		r.sinks[0].answers(after(15*time.Millisecond, takeAll))
		load := &busyLoad{fixture: r, window: window}
		for tick := range 2 * 60 * 100 {
			load.write(tick)
			r.elapse(10 * time.Millisecond)
			load.relieve()
		}
		if r.tally.slowest > 50*time.Millisecond || !load.waits {
			t.Errorf("an event of another group took %v; the busy group waits: %t", r.tally.slowest, load.waits)
		}
	}, wide, bounded)
}

func (l *busyLoad) write(tick int) {
	events := []*delivery.Event{eventOf("busy", tick)}
	if l.waits {
		events = nil
	}
	for range 5 {
		e := eventOf(fmt.Sprint("other", l.others%10_000), l.others)
		e.CommittedAt = time.Now()
		events = append(events, e)
		l.others++
	}
	for _, e := range events {
		if !l.tracker.HasRoom() {
			l.t.Fatalf("the window is full after %v", time.Duration(tick)*10*time.Millisecond)
		}
		e.Handle = l.tracker.Open(e.Message.EventID, 1)
		l.delivery.Send(0, e)
	}
}

func (l *busyLoad) relieve() {
	all := l.delivery.Busy(0, none)
	if len(all) == 0 || 2*l.tracker.Load().Events < l.window {
		return
	}
	busy := all[0]
	held, _ := l.tracker.HeldUpBy(busy.First)
	if 4*(held+busy.Events) < l.window {
		return
	}
	release, err := l.delivery.HoldGroup(l.t.Context(), 0, busy.Group)
	if err != nil {
		l.t.Fatal(err)
	}
	defer release()
	l.waits = busy.Group == "busy"
	l.delivery.HandOver(l.delivery.WithdrawGroup(0, busy.Group, func(*delivery.Event) bool { return true }))
}
