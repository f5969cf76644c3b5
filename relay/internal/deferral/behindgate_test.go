package deferral

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// TestAGroupLeavesThePassOfItsDestination: the events of the group that the pass has sent wait for
// the group from then on, and the pass sends no further one.
func TestAGroupLeavesThePassOfItsDestination(t *testing.T) {
	t.Parallel()
	d := &taker{}
	g, err := NewGate(d, []string{"A"}, Start{Share: 10, ShareBytes: 1 << 20, Routes: "A", Deferrals: []Deferral{
		{Destination: "A", Known: "10:10:", FromSeq: 60, Routes: []string{"A"}, State: Deferred},
	}})
	if err != nil {
		t.Fatal(err)
	}
	whole := g.held[key{destination: "A"}]
	f := newFlight(0, 0)
	g.setFlight(whole, f)
	sent := map[int64]*delivery.Event{}
	for i, aggregate := range []string{"1", "2", "1"} {
		seq := int64(61 + i)
		sent[seq] = inGroup(aggregate, 8, int(seq))
		f.add(seq, 1, sent[seq])
	}
	foreign := inGroup("1", 8, 64) // of another pass
	h, err := newHeld(Deferral{
		Destination: "A", Known: "10:10:", FromSeq: lowestOf([]*delivery.Event{sent[63], sent[61]}),
		Routes: []string{"A"}, State: Deferred, Reason: ReasonBehind, AggregateType: "t", AggregateID: "1",
	}, "A")
	if err != nil {
		t.Fatal(err)
	}
	g.beginWithin(h, whole, func(wanted func(*delivery.Event) bool) (taken []*delivery.Event) {
		for _, e := range []*delivery.Event{sent[61], sent[63], foreign} {
			if wanted(e) {
				taken = append(taken, e)
			}
		}
		return taken
	})
	if f.has(sent[61]) || f.has(sent[63]) || !f.has(sent[62]) || f.passed() != 61 {
		t.Error("the pass does not wait for the event of the other group alone")
	}
	if waiting := g.dropped(h); waiting != 2 {
		t.Errorf("%d events wait for the group, want 2", waiting)
	}
	if !g.isBehind(h) || h.mark.done(8, 61) || !h.mark.done(8, 60) {
		t.Error("the group does not wait from seq 61 on")
	}
	for aggregate, want := range map[string]bool{"1": false, "2": true} {
		row := &outbox.Envelope{AggregateType: "t", AggregateID: aggregate}
		if got := g.sendOwn(whole, row, "A", func() {}); got != want {
			t.Errorf("the pass sends a row of aggregate %s: %v", aggregate, got)
		}
	}
	g.Send(0, inGroup("1", 12, 70))
	if waiting := g.dropped(h); waiting != 1 {
		t.Errorf("%d later events wait for the group, want 1", waiting)
	}
}

// TestAGroupShowsWhatAForgottenPassLeft: the pass of the destination has left rows to the group,
// and its deferral is forgotten before the group joins the stream.
func TestAGroupShowsWhatAForgottenPassLeft(t *testing.T) {
	t.Parallel()
	all := Deferral{Destination: "A", Known: "30:30:", FromSeq: endless, Routes: []string{"A"}, State: Joined}
	g, h, _ := newGroupGate(t, 10, all)
	g.forget(Place{Destination: "A"})
	g.keepFrom(h)
	if g.join(h, shown(t, "16:16:")) {
		t.Error("the group has joined with an older snapshot")
	}
	if !g.join(h, shown(t, "31:31:")) {
		t.Error("the group has not joined")
	}
}
