package deferral

import (
	"context"
	"slices"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

// left is a [Senders] that has events of a group behind a dead letter.
type left struct {
	Senders
	busy   bool // a request has one of them
	events []*delivery.Event
	parked bool
}

func (s *left) HoldGroup(ctx context.Context, _ int, _ string) (release func(), err error) {
	if s.busy {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return func() {}, nil
}

func (s *left) WithdrawGroup(_ int, _ string, wanted func(*delivery.Event) bool) (taken []*delivery.Event) {
	s.events = slices.DeleteFunc(s.events, func(e *delivery.Event) bool {
		if wanted(e) {
			taken = append(taken, e)
			return true
		}
		return false
	})
	return taken
}

func (s *left) ParkBehind(int, string) { s.parked = true }

// TestEventsOfAnEndedPassAreNotParked: a request had one of the events for so long that the pass
// ended without taking them back, and then it was refused.
func TestEventsOfAnEndedPassAreNotParked(t *testing.T) {
	t.Parallel()
	g, h, _ := newGroupGate(t, 10)
	senders := &left{busy: true}
	w := &Worker{Names: []string{"A"}, Senders: senders, Gate: g, relieved: make([]relief, 1)}
	ended := &transfer{Worker: w, held: h, flight: newFlight(49, 0), destinations: map[int]bool{0: true}}
	for seq := range 3 {
		e := inGroup("1", 12, 50+seq)
		ended.flight.add(int64(50+seq), 1, e)
		senders.events = append(senders.events, e)
	}
	recalling, cancel := context.WithTimeout(t.Context(), holdTimeout)
	ended.recall(recalling)
	cancel()
	look := func() {
		t.Helper()
		behind := delivery.BehindGroup{Group: "t/1", Row: senders.events[0].Row}
		if err := w.deferBehind(t.Context(), 0, behind, Observation{}); err != nil {
			t.Fatal(err)
		}
	}
	look()
	if senders.parked || len(senders.events) != 3 {
		t.Fatalf("%d of 3 events are left, parked: %v", len(senders.events), senders.parked)
	}
	foreign := inGroup("1", 12, 60) // no row of the pass
	senders.busy, senders.events = false, append(senders.events, foreign)
	look()
	if senders.parked || len(senders.events) != 1 {
		t.Fatalf("%d events are left, want the foreign one; parked: %v", len(senders.events), senders.parked)
	}
	if look(); !senders.parked {
		t.Error("an event that cannot wait in the table is not parked")
	}
}
