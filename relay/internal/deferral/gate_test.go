package deferral

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// taker is a [Delivery] that remembers its events.
type taker struct{ sent, over []string }

func (d *taker) Send(_ int, events ...*delivery.Event) {
	for _, e := range events {
		d.sent = append(d.sent, e.Message.EventID)
	}
}

func (d *taker) HandOver(events []*delivery.Event) {
	for _, e := range events {
		d.over = append(d.over, e.Message.EventID)
	}
}

// streamed is an event of the stream. Its id names its transaction and its seq.
func streamed(xid, seq int) *delivery.Event {
	return &delivery.Event{
		Message: sink.Message{EventID: fmt.Sprintf("%d/%d", xid, seq)},
		Row: delivery.Row{
			XID: fmt.Sprint(xid), Sequence: fmt.Sprint(seq), CommitLSN: pglogrepl.LSN(1000 + xid), Writer: uint32(xid),
		},
	}
}

// newTestGate returns a Gate with a deferral of destination A, begun by an earlier session. Its
// mark is the snapshot in which 10 is the next transaction and 7 runs, and seq 50.
func newTestGate(t *testing.T, share int) (*Gate, *held, *taker) {
	t.Helper()
	d := &taker{}
	stored := Deferral{Destination: "A", Known: "7:10:7", FromSeq: 50, Routes: []string{"A"}, State: Deferred}
	g, err := NewGate(d, []string{"A", "B"},
		Start{Share: share, ShareBytes: 1 << 20, Routes: "A", Deferrals: []Deferral{stored}})
	if err != nil {
		t.Fatal(err)
	}
	return g, g.held[key{destination: "A"}], d
}

func shown(t *testing.T, text string) pgsnapshot.Snapshot {
	t.Helper()
	s, err := pgsnapshot.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (d *taker) expect(t *testing.T, sent, over string) {
	t.Helper()
	if diff := cmp.Diff([]string{sent, over}, []string{fmt.Sprint(d.sent), fmt.Sprint(d.over)}); diff != "" {
		t.Errorf("sent and handed over (-want +got):\n%s", diff)
	}
}

func TestRowsOfADeferredDestinationAreHandedOver(t *testing.T) {
	t.Parallel()
	g, h, d := newTestGate(t, 10)
	g.Send(0, streamed(5, 10), streamed(7, 11), streamed(8, 60), streamed(12, 70))
	g.Send(1, streamed(12, 71))
	d.expect(t, "[12/71]", "[5/10 7/11 8/60 12/70]")
	if dropped := g.dropped(h); dropped != 3 { // 5/10 was delivered before
		t.Errorf("%d events wait, want 3", dropped)
	}
}

func TestRowsWithMadeUpXIDsPassTheGate(t *testing.T) {
	t.Parallel()
	g, _, d := newTestGate(t, 10)
	e := streamed(12, 70)
	e.Row.XID = "3"
	recovered := streamed(5, 10) // it looks done, and the stream may never have brought it
	recovered.Row.CommitLSN = 0
	g.Send(0, e, recovered)
	d.expect(t, "[12/70 5/10]", "[]")
}

func TestASnapshotShowsWhatWasDroppedBeforeAJoin(t *testing.T) {
	t.Parallel()
	g, h, _ := newTestGate(t, 10)
	g.Send(0, streamed(12, 70))
	for snapshot, want := range map[string]bool{
		"12:20:12": false, // the commit awaits a standby
		"13:20:13": false, // an earlier session may have dropped rows of 13
		"15:20:15": true,
	} {
		if got := g.isShown(h, shown(t, snapshot), 14); got != want {
			t.Errorf("snapshot %s shows the dropped row: %t, want %t", snapshot, got, want)
		}
	}
}

// The stream was read past a snapshot that is younger than that of the join.
func TestOnlyAPassTellsWhatASnapshotShows(t *testing.T) {
	t.Parallel()
	g, h, _ := newTestGate(t, 10)
	g.Send(0, streamed(16, 70))
	if err := g.Observed("20:20:", 100); err != nil {
		t.Fatal(err)
	}
	g.Reached(200)
	if g.isShown(h, shown(t, "16:20:16"), 14) {
		t.Error("a snapshot that does not show 16 shows what was dropped")
	}
	g.advance(h, mark{shown(t, "20:20:"), 50})
	if !g.isShown(h, shown(t, "21:21:"), 14) {
		t.Error("16 is remembered although every later snapshot shows it")
	}
}

// The pass of B leaves the rows of A out, and its mark shows them. A row of A that came after the
// last pass of A would be done for B alone, once A is forgotten.
func TestAJoinShowsEveryRowThatAPassLeftOut(t *testing.T) {
	t.Parallel()
	g, err := NewGate(&taker{}, []string{"B"}, Start{Routes: "B", Share: 10, ShareBytes: 1 << 20, Deferrals: []Deferral{
		{Destination: "A", Known: "10:10:", FromSeq: endless, Routes: []string{"A"}, State: Deferred},
		{Destination: "B", Known: "30:30:", FromSeq: endless, Routes: []string{"B"}, State: Deferred},
	}})
	if err != nil {
		t.Fatal(err)
	}
	a, b := g.held[key{destination: "A"}], g.held[key{destination: "B"}]
	if g.keepFrom(a); g.join(a, shown(t, "16:16:")) {
		t.Error("A has joined before the mark of B")
	}
	underWay := shown(t, "40:40:")
	if g.setPassing(b, &underWay); g.join(a, shown(t, "35:35:")) {
		t.Error("A has joined before the pass of B")
	}
	if g.setPassing(b, nil); !g.join(a, shown(t, "35:35:")) {
		t.Error("A cannot join")
	}
	g.joined(a, shown(t, "35:35:"))
	if g.keepFrom(a) {
		t.Error("a deferral that the stream has joined keeps events")
	}
}

// Earlier routes lead the event to A, those of now to B.
func TestARowHasOneDeferral(t *testing.T) {
	t.Parallel()
	for state, want := range map[State][2]string{
		Deferred: {"A", ""}, // the deferral of A delivers it
		Joined:   {"", "B"}, // A has delivered its events
	} {
		d := &taker{}
		g, err := NewGate(d, []string{"B"}, Start{Routes: "B", Deferrals: []Deferral{
			{Destination: "A", Known: "10:10:", FromSeq: endless, Routes: []string{"A"}, State: state},
			{Destination: "B", Known: "10:10:", FromSeq: endless, Routes: []string{"B"}, State: Deferred},
		}})
		if err != nil {
			t.Fatal(err)
		}
		e := streamed(20, 80)
		e.Deferral = g.Claimed(&outbox.Envelope{})
		g.Send(0, e)
		d.expect(t, "[]", "[20/80]")
		dropped := [2]string{}
		for i, name := range []string{"A", "B"} {
			if g.dropped(g.held[key{destination: name}]) == 1 {
				dropped[i] = name
			}
		}
		if dropped != want {
			t.Errorf("with A %s, the event waits for %v, want %v", state, dropped, want)
		}
	}
}

func TestKeptRowsAreSentUnlessTheSnapshotShowsThem(t *testing.T) {
	t.Parallel()
	g, h, d := newTestGate(t, 10)
	g.keepFrom(h)
	g.Send(0, streamed(20, 80), streamed(21, 81))
	d.expect(t, "[]", "[]")
	if !g.join(h, shown(t, "90:90:")) {
		t.Fatal("the gate did not keep everything")
	}
	g.Send(0, streamed(22, 82))
	g.joined(h, shown(t, "21:21:"))
	g.Send(0, streamed(20, 80), streamed(23, 83))
	d.expect(t, "[21/81 22/82 23/83]", "[20/80 20/80]")
}

func TestMoreThanItsShareIsNotKept(t *testing.T) {
	t.Parallel()
	g, h, d := newTestGate(t, 2)
	g.keepFrom(h)
	g.Send(0, streamed(20, 80), streamed(21, 81), streamed(22, 82))
	d.expect(t, "[]", "[20/80 21/81 22/82]")
	if g.join(h, shown(t, "90:90:")) {
		t.Error("the stream is joined although rows were dropped")
	}
	if g.isShown(h, shown(t, "22:22:"), 14) {
		t.Error("a snapshot that does not show 22 shows what was dropped")
	}
}

// TestNothingIsDroppedWhileAJoinIsWritten: whether it is written may be unknown.
func TestNothingIsDroppedWhileAJoinIsWritten(t *testing.T) {
	t.Parallel()
	g, h, d := newTestGate(t, 2)
	g.keepFrom(h)
	if !g.join(h, shown(t, "90:90:")) {
		t.Fatal("the gate did not keep everything")
	}
	g.Send(0, streamed(20, 80), streamed(21, 81), streamed(22, 82))
	g.keepNone(h)
	d.expect(t, "[]", "[]")
}

func TestASnapshotCountsOnceTheStreamWasReadPastIt(t *testing.T) {
	t.Parallel()
	g, _, _ := newTestGate(t, 2)
	for _, lsn := range []pglogrepl.LSN{100, 200} {
		if err := g.Observed(fmt.Sprintf("%d:%[1]d:", lsn), lsn); err != nil {
			t.Fatal(err)
		}
	}
	g.Reached(99)
	if past := g.Past(); past != "" {
		t.Errorf("the stream was read past %s", past)
	}
	g.Reached(150)
	if past := g.Past(); past != "100:100:" {
		t.Errorf("the stream was read past %q", past)
	}
}

func TestRowsAreSelectedByTheRoutesOfThen(t *testing.T) {
	t.Parallel()
	d := &taker{}
	g, err := NewGate(d, []string{"B"}, Start{Routes: "B", Deferrals: []Deferral{
		{Destination: "A", Known: "10:10:", FromSeq: 50, Routes: []string{"B\nevent:a=A", "B"}, State: Deferred},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for seq, kind := range []string{"a", "b"} {
		e := streamed(20, seq)
		e.Deferral = g.Claimed(&outbox.Envelope{EventType: kind})
		g.Send(0, e)
	}
	d.expect(t, "[20/1]", "[20/0]")
}

// TestOnlyFoundRowsCountAsFound: a pass also sends rows that the gate has never dropped, such as
// those that it keeps. They make up for no row that was removed.
func TestOnlyFoundRowsCountAsFound(t *testing.T) {
	t.Parallel()
	g, h, _ := newTestGate(t, 100)
	g.Send(0, streamed(20, 60), streamed(20, 61), streamed(21, 62))
	g.keepFrom(h)
	g.Send(0, streamed(22, 63), streamed(22, 64))
	for _, seq := range []int64{61, 63, 64, 99} { // 60 and 62 were removed
		g.found(h, seq)
	}
	if n := g.unseen(h); n != 2 {
		t.Errorf("%d rows were removed, want 2", n)
	}
}

// TestAFoundRowIsNotRemovedOnceKeepingEnds: the pass of a join finds rows that the gate keeps. It
// is still under way when the gate gives up keeping, so the row waits in the table until it ends.
func TestAFoundRowIsNotRemovedOnceKeepingEnds(t *testing.T) {
	t.Parallel()
	g, h, d := newTestGate(t, 100)
	g.keepFrom(h)
	g.Send(0, streamed(20, 60), streamed(21, 61)) // 61 was removed
	g.found(h, 60)
	g.keepNone(h)
	d.expect(t, "[]", "[20/60 21/61]")
	g.advance(h, mark{shown(t, "22:22:"), endless})
	if n := g.unseen(h); n != 1 {
		t.Errorf("%d rows were removed, want 1", n)
	}
}

// joinedRow is an event of a row that the log did not bring.
func joinedRow(xid, seq int) *delivery.Event {
	e := streamed(xid, seq)
	e.Row.CommitLSN, e.Joined = 0, true
	e.Settled = func() {}
	return e
}

func TestRowsOfANewMemberWaitIfAPassFindsThem(t *testing.T) {
	t.Parallel()
	g, h, d := newTestGate(t, 10)
	join := func(xid, seq int, want bool) {
		t.Helper()
		if sent := g.SendJoined(0, joinedRow(xid, seq)); sent != want {
			t.Errorf("row %d/%d: sent: %t, want %t", xid, seq, sent, want)
		}
	}
	join(7, 11, true) // the next pass finds it
	join(5, 12, true) // it counts as done, and was not delivered
	to := shown(t, "7:20:7")
	g.setPassing(h, &to)
	join(12, 60, false) // the pass may have looked for it before the table had it
	join(7, 13, true)   // the pass after that finds it
	join(5, 14, true)
	g.setPassing(h, nil)
	join(12, 60, true)
	g.keepFrom(h)
	join(12, 61, false)
	g.joined(h, to)
	join(12, 61, true) // it counts as done
	join(25, 70, true)
	d.expect(t, "[5/12 5/14 12/61 25/70]", "[7/11 7/13 12/60]")
}

func TestALowerMarkCoversRowsOfANewMember(t *testing.T) {
	t.Parallel()
	g, h, d := newTestGate(t, 10)
	events := []*delivery.Event{joinedRow(5, 20), joinedRow(5, 10), streamed(5, 21)}
	g.lower(h, 20, func(covered func(*delivery.Event) bool) (withdrawn []*delivery.Event) {
		for _, e := range events {
			if covered(e) {
				withdrawn = append(withdrawn, e)
			}
		}
		return withdrawn
	})
	d.expect(t, "[]", "[5/20]")
}
