package deferral

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// inGroup returns an event of the stream that belongs to an aggregate of type t.
func inGroup(aggregate string, xid, seq int) *delivery.Event {
	e := streamed(xid, seq)
	e.Message.GroupID = "t/" + aggregate
	return e
}

// newGroupGate returns a Gate with a deferral of aggregate 1 for destination A, begun by an earlier
// session, and with further ones.
func newGroupGate(t *testing.T, share int, more ...Deferral) (*Gate, *held, *taker) {
	t.Helper()
	d := &taker{}
	all := slices.Concat(more, []Deferral{{
		Destination: "A", Known: "7:10:7", FromSeq: 50, Routes: []string{"A"}, State: Deferred,
		AggregateType: "t", AggregateID: "1",
	}})
	g, err := NewGate(d, []string{"A", "B"}, Start{Share: share, ShareBytes: 1 << 20, Routes: "A", Deferrals: all})
	if err != nil {
		t.Fatal(err)
	}
	return g, g.held[key{"A", "t/1"}], d
}

func TestOnlyRowsOfTheDeferredGroupAreHandedOver(t *testing.T) {
	t.Parallel()
	g, h, d := newGroupGate(t, 10)
	g.Send(0, inGroup("1", 5, 10), inGroup("1", 12, 70), inGroup("2", 12, 71), streamed(12, 72))
	g.Send(1, inGroup("1", 12, 73))
	d.expect(t, "[12/71 12/72 12/73]", "[5/10 12/70]")
	if dropped := g.dropped(h); dropped != 1 { // 5/10 was delivered before
		t.Errorf("%d events wait, want 1", dropped)
	}
}

// TestARowOfADeferredGroupIsTheGroups: the destination is deferred too.
func TestARowOfADeferredGroupIsTheGroups(t *testing.T) {
	t.Parallel()
	all := Deferral{Destination: "A", Known: "10:10:", FromSeq: 60, Routes: []string{"A"}, State: Deferred}
	g, h, d := newGroupGate(t, 10, all)
	whole := g.held[key{destination: "A"}]
	g.Send(0, inGroup("1", 9, 55), inGroup("1", 12, 70), inGroup("2", 12, 71))
	d.expect(t, "[]", "[9/55 12/70 12/71]")
	if group, other := g.dropped(h), g.dropped(whole); group != 2 || other != 1 {
		t.Errorf("%d events wait in the group and %d beside it, want 2 and 1", group, other)
	}
	for aggregate, want := range map[string]*held{"1": h, "2": whole} {
		if got := g.owner(&outbox.Envelope{AggregateType: "t", AggregateID: aggregate}, "A"); got != want {
			t.Errorf("aggregate %s has deferral %p, want %p", aggregate, got, want)
		}
	}
	g.keepFrom(h)
	if g.join(h, shown(t, "90:90:")) {
		t.Error("the group has joined the stream, and a pass of its destination leaves its rows out")
	}
}

// The destination has joined with a younger snapshot than that of the group's pass. A row that the
// snapshot shows would be lost with a relay that dies once the group is forgotten.
func TestAGroupJoinsNoEarlierThanItsDestination(t *testing.T) {
	t.Parallel()
	all := Deferral{Destination: "A", Known: "30:30:", FromSeq: endless, Routes: []string{"A"}, State: Joined}
	g, h, d := newGroupGate(t, 10, all)
	g.keepFrom(h)
	g.Send(0, inGroup("1", 15, 70), inGroup("1", 20, 80), inGroup("1", 35, 90), inGroup("2", 20, 81))
	if g.join(h, shown(t, "16:16:")) {
		t.Fatal("the group has joined")
	}
	if !g.join(h, shown(t, "31:31:")) {
		t.Fatal("the gate did not keep everything")
	}
	g.joined(h, shown(t, "31:31:"))
	d.expect(t, "[35/90]", "[20/81 15/70 20/80]")
}

// The deferral of the destination began after the group joined, so it has the group's rows too. A
// row that it counts as delivered was delivered.
func TestARowDeliveredBeforeADeferralIsSkipped(t *testing.T) {
	t.Parallel()
	g, _, d := newGroupGate(t, 10,
		Deferral{Destination: "A", Known: "30:30:", FromSeq: 90, Routes: []string{"A"}, State: Deferred},
		Deferral{
			Destination: "A", Known: "25:25:", FromSeq: endless, Routes: []string{"A"}, State: Joined,
			AggregateType: "t", AggregateID: "2",
		})
	g.Send(0, inGroup("2", 27, 70), inGroup("2", 31, 95))
	d.expect(t, "[]", "[27/70 31/95]")
}

func TestTheGroupThatKeepsMostGivesUp(t *testing.T) {
	t.Parallel()
	second := Deferral{
		Destination: "A", Known: "10:10:", FromSeq: endless, Routes: []string{"A"}, State: Deferred,
		AggregateType: "t", AggregateID: "2",
	}
	g, first, d := newGroupGate(t, 3, second)
	g.keepFrom(first)
	g.keepFrom(g.held[key{"A", "t/2"}])
	g.Send(0, inGroup("1", 20, 80), inGroup("2", 20, 81), inGroup("1", 20, 82), inGroup("1", 20, 83))
	d.expect(t, "[]", "[20/80 20/82 20/83]")
	if g.join(first, shown(t, "90:90:")) {
		t.Error("the group that kept most has joined")
	}
	if !g.join(g.held[key{"A", "t/2"}], shown(t, "90:90:")) {
		t.Error("the other group gave up too")
	}
}

func TestAGroupIsSelectedByTheRoutesOfThen(t *testing.T) {
	t.Parallel()
	d := &taker{}
	g, err := NewGate(d, []string{"B"}, Start{Routes: "B", Deferrals: []Deferral{{
		Destination: "A", Known: "10:10:", FromSeq: 50, Routes: []string{"A", "B"}, State: Deferred,
		AggregateType: "t", AggregateID: "1",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for seq, aggregate := range []string{"1", "2"} {
		e := inGroup(aggregate, 20, seq)
		e.Deferral = g.Claimed(&outbox.Envelope{AggregateType: "t", AggregateID: aggregate})
		g.Send(0, e)
	}
	d.expect(t, "[20/1]", "[20/0]")
	h := g.held[key{"A", "t/1"}]
	if got := g.owner(&outbox.Envelope{AggregateType: "t", AggregateID: "1"}, "B"); got != h {
		t.Errorf("the row has deferral %p, want %p", got, h)
	}
}

func TestMarksKnowTheAggregate(t *testing.T) {
	t.Parallel()
	text := `[{"Destination": "A", "Known": "10:10:", "FromSeq": 50, "Routes": ["A"], "State": "deferred",
		"AggregateType": "t", "AggregateID": "1"}]`
	marks, err := ParseMarks(&text)
	if err != nil {
		t.Fatal(err)
	}
	for aggregate, want := range map[string]bool{"1": true, "2": false} {
		e := outbox.Envelope{AggregateType: "t", AggregateID: aggregate, XID: "9", Sequence: "60"}
		if got := marks.Wait(&e); got != want {
			t.Errorf("a row of aggregate %s waited: %t, want %t", aggregate, got, want)
		}
	}
}

func TestGroupsTakeTurns(t *testing.T) {
	t.Parallel()
	var all []*held
	for i := range groupTurns + 10 {
		all = append(all, &held{stored: Deferral{Destination: "A", AggregateType: "t", AggregateID: fmt.Sprint(i)}})
	}
	whole := &held{stored: Deferral{Destination: "A"}}
	var turns turns
	first := turns.next(append(all, whole))
	if len(first) != groupTurns+1 || !slices.Contains(first, whole) {
		t.Fatalf("%d deferrals have a turn", len(first))
	}
	if again := turns.next(append(all, whole)); len(again) != 0 {
		t.Fatalf("%d more deferrals have a turn", len(again))
	}
	h := first[slices.IndexFunc(first, (*held).isGroup)]
	if turns.isOver(h) {
		t.Error("the turn is over at once")
	}
	h.turnEnds = time.Now().Add(-time.Second)
	if !turns.isOver(h) {
		t.Error("the turn does not end, and others wait")
	}
	turns.ended(h)
	if next := turns.next(all); len(next) != 1 || slices.Contains(first, next[0]) {
		t.Errorf("the next turn is not that of a group which waits: %v", next)
	}
}

// A group whose mark is changed has no turn, and takes none from another group.
func TestAGroupThatIsTakenHasNoTurn(t *testing.T) {
	t.Parallel()
	var all []*held
	for i := range groupTurns + 1 {
		all = append(all, &held{stored: Deferral{Destination: "A", AggregateType: "t", AggregateID: fmt.Sprint(i)}})
	}
	var turns turns
	last := all[groupTurns]
	if !turns.take(last) || turns.take(last) {
		t.Error("a group is not taken once")
	}
	if first := turns.next(all); len(first) != groupTurns || slices.Contains(first, last) {
		t.Errorf("%d deferrals have a turn", len(first))
	}
	if more := turns.next(nil); len(more) != 0 || turns.ofDestination("A") != groupTurns {
		t.Errorf("%d more have a turn, %d of the destination", len(more), turns.ofDestination("A"))
	}
	turns.giveBack(last)
	turns.ended(all[0])
	if next := turns.next(all[1:]); len(next) != 1 || next[0] != last {
		t.Errorf("the next turn is not that of the group: %v", next)
	}
}

// overdue is a [Senders] that knows since when the first destination has accepted nothing.
type overdue struct {
	Senders
	since time.Time
}

func (s *overdue) Overdue(destination int) (since time.Time, overdue bool) {
	if destination > 0 {
		return time.Time{}, false
	}
	return s.since, false
}

func TestAnUnavailableDestinationHasOneTurn(t *testing.T) {
	t.Parallel()
	senders := &overdue{since: time.Now().Add(-time.Hour)}
	w := &Worker{Names: []string{"A", "B"}, Senders: senders, Gate: &Gate{}}
	of := func(destination, id string) *held {
		return &held{stored: Deferral{Destination: destination, AggregateType: "t", AggregateID: id}}
	}
	var all []*held
	for i := range 2 * groupTurns {
		all = append(all, of("A", fmt.Sprint(i)))
	}
	b := of("B", "1")
	all = append(all, b)
	first := w.turns.next(w.drainable(all))
	if len(first) != 2 || !slices.Contains(first, b) {
		t.Fatalf("%d groups have a turn, want the one of B and one of A", len(first))
	}
	if further := w.drainable(all[:2*groupTurns]); len(further) != 0 {
		t.Errorf("%d further groups of A may be drained", len(further))
	}
	if w.mustYield(first[0]) {
		t.Error("the group that finds out whether A is available has to yield")
	}
	senders.since = time.Time{}
	if able := w.drainable(all); len(able) != len(all) {
		t.Errorf("%d of %d groups may be drained", len(able), len(all))
	}
	w.turns.next(w.drainable(all))
	if senders.since = time.Now().Add(-time.Hour); !w.mustYield(first[0]) {
		t.Error("a group of A keeps its turn beside others of A, although A is unavailable")
	}
	if w.mustYield(b) {
		t.Error("the group of B has to yield")
	}
}

// TestTheMemoryOfAllDeferralsIsBounded: the rows of 200 aggregates wait, for as long as their
// destination is paused, and lie far from each other.
func TestTheMemoryOfAllDeferralsIsBounded(t *testing.T) {
	t.Parallel()
	g, _, _ := newTestGate(t, 10)
	var all []*held
	blocks, xids := 0, 0
	for i := range 200 {
		h, err := newHeld(Deferral{
			Destination: "B", AggregateType: "t", AggregateID: fmt.Sprint(i), Known: "7:10:7", FromSeq: endless,
		}, "A")
		if err != nil {
			t.Fatal(err)
		}
		g.hold(h)
		all = append(all, h)
		for n := range 2000 {
			h.judge(streamed(100+2000*i+n, (2000*i+n)*blockBits))
		}
		blocks, xids = blocks+len(h.unseen.blocks), xids+len(h.droppedXIDs.xids)
	}
	if blocks > maxBlocks || xids > maxXIDs {
		t.Errorf("%d blocks of seqs and %d xids are in memory", blocks, xids)
	}
	last := all[len(all)-1]
	if s := fmt.Sprintf("%d:%[1]d:", 100+2000*200-1); g.isShown(last, shown(t, s), 0) {
		t.Error("a snapshot that does not show the last transaction shows what was dropped")
	}
	if s := fmt.Sprintf("%d:%[1]d:", 100+2000*200); !g.isShown(last, shown(t, s), 0) {
		t.Error("a snapshot that shows every transaction does not show what was dropped")
	}
	for _, h := range all {
		g.unhold(h.stored.place().key())
	}
	if g.blocks.used != 0 || g.xids.used != 0 {
		t.Errorf("%d blocks and %d xids are taken without a deferral", g.blocks.used, g.xids.used)
	}
}
