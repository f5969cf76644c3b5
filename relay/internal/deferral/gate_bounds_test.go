package deferral

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

// beginWithUndelivered begins a deferral of an aggregate of which delivery holds so many rows, from
// a seq on. All of them are visible in the snapshot of its beginning.
func beginWithUndelivered(t *testing.T, g *Gate, aggregate string, from, rows int) *held {
	t.Helper()
	h, err := newHeld(Deferral{
		Destination: "B", AggregateType: "t", AggregateID: aggregate,
		Known: "10:10:", FromSeq: int64(from), Routes: []string{"A"}, State: Deferred,
	}, "A")
	if err != nil {
		t.Fatal(err)
	}
	h.seen = shown(t, "20:20:")
	e := streamed(15, from)
	g.begin(h, true, func(covered func(*delivery.Event) bool) []*delivery.Event {
		for i := range rows {
			e.Row.Sequence = strconv.Itoa(from + i)
			covered(e)
		}
		return nil
	})
	return h
}

// TestUndeliveredRowsShareOneBound: rows for which there is no room are sent, although they may
// have been delivered. A deferral that ends makes room.
func TestUndeliveredRowsShareOneBound(t *testing.T) {
	t.Parallel()
	const rows, fit = 60_000, 4
	g, _, _ := newTestGate(t, 10)
	var all []*held
	for i := range fit + 1 {
		h := beginWithUndelivered(t, g, fmt.Sprint(i), 100_000*(i+1), rows)
		all = append(all, h)
		if g.wasDelivered(h, h.mark.fromSeq) {
			t.Fatalf("an undelivered row of aggregate %d counts as delivered", i)
		}
		if got, want := g.wasDelivered(h, h.mark.fromSeq+rows), i < fit; got != want {
			t.Fatalf("a delivered row of aggregate %d is known to be delivered: %t, want %t", i, got, want)
		}
	}
	g.forgetDelivered(all[0])
	if h := beginWithUndelivered(t, g, "last", 900_000, rows); !g.wasDelivered(h, 900_000+rows) {
		t.Error("a deferral that has ended makes no room")
	}
}

// TestGroupsOfAPassShareOneSetOfRows: each aggregate that leaves the pass of its destination would
// otherwise have a copy of the rows of all of them.
func TestGroupsOfAPassShareOneSetOfRows(t *testing.T) {
	t.Parallel()
	const rows, groups = 60_000, 100
	g, _, _ := newTestGate(t, 10)
	all := beginWithUndelivered(t, g, "", 100_000, rows)
	var members []*held
	for i := range groups {
		h, err := newHeld(Deferral{
			Destination: "B", AggregateType: "t", AggregateID: fmt.Sprint(i),
			Known: "20:20:", FromSeq: 100_000, Routes: []string{"A"}, State: Deferred,
		}, "A")
		if err != nil {
			t.Fatal(err)
		}
		g.beginWithin(h, all, nil)
		if !g.wasDelivered(h, 99_999) || g.wasDelivered(h, 100_000) {
			t.Fatalf("aggregate %d does not know which rows were delivered", i)
		}
		members = append(members, h)
	}
	for _, h := range members {
		g.forgetDelivered(h)
	}
	if !g.wasDelivered(all, 99_999) || g.wasDelivered(all, 100_000) {
		t.Error("the destination no longer knows which rows were delivered")
	}
	if g.forgetDelivered(all); g.undelivered.used != 0 {
		t.Errorf("%d rows are in memory after the last deferral, want 0", g.undelivered.used)
	}
}
