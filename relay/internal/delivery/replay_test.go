package delivery_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// replays are replayed events, with the outcome of each.
type replays struct {
	r    *fixture
	told []string
}

// send replays events. The Tracker does not know them.
func (p *replays) send(ids string) {
	for _, id := range strings.Fields(ids) {
		e := event(id)
		e.Replayed = func(refused *sink.RejectedError) {
			if refused != nil {
				id += ":" + refused.Code
			}
			p.told = append(p.told, id)
		}
		p.r.delivery.Send(0, e)
	}
	synctest.Wait()
}

func (p *replays) expect(told string) {
	p.r.t.Helper()
	if got := strings.Join(p.told, " "); got != told {
		p.r.t.Errorf("told of %q, want %q", got, told)
	}
}

func TestAReplayedEventWaitsForItsTurnInItsGroup(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		p := &replays{r: r}
		r.sinks[0].answers(after(time.Second, takeAll))
		r.sendIDs(0, "a7")
		p.send("a1 a2")
		r.sendIDs(0, "a8")
		r.elapse(10 * time.Second)
		r.expectRequests(0, "a7", "a1", "a2", "a8")
		p.expect("a1 a2")
		r.expectOpen(0)
		if r.tally.count["replayed A"] != 2 || r.tally.count["delivered A"] != 2 {
			t.Errorf("observed %v", r.tally.count)
		}
	})
}

func TestRefusedReplayHasNoOtherEffect(t *testing.T) {
	t.Parallel()
	for _, p := range []delivery.Policy{delivery.ParkDefault, delivery.Park, delivery.ParkAggregate, delivery.Halt} {
		run(t, one(fifo), func(r *fixture) {
			p := &replays{r: r}
			r.sinks[0].answers(failEntry("a1", errRefused))
			p.send("a1 a2")
			r.sendIDs(0, "a3")
			r.elapse(time.Minute)
			r.expectTaken(0, "a2 a3")
			r.expectParked("")
			p.expect("a1:InvalidMessageContents a2")
			if r.tally.count["replayed A InvalidMessageContents"] != 1 {
				t.Errorf("observed %v", r.tally.count)
			}
		}, policy(p))
	}
}

func TestAReplayIsNotHeldBackByWhatIsParked(t *testing.T) {
	t.Parallel()
	blocked := func(_ *fixture, d []delivery.Destination) { d[0].Blocked = map[string]string{"a": "a3"} }
	run(t, one(fifo), func(r *fixture) {
		p := &replays{r: r}
		p.send("a1")
		r.sendIDs(0, "a4")
		p.send("a2")
		r.elapse(time.Second)
		r.expectTaken(0, "a1 a2")
		r.expectParked("a4")
		p.expect("a1 a2")
	}, blocked)
}

// TestAReplayBehindAnEventThatIsParkedIsSent: dead letters leave the scheduler then, because their
// rows say that they are parked again. A replay has no such row.
func TestAReplayBehindAnEventThatIsParkedIsSent(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		p := &replays{r: r}
		r.sinks[0].answers(after(time.Second, failEntry("a7", errRefused)))
		r.sendIDs(0, "a7")
		p.send("a1 a2")
		r.elapse(time.Minute)
		r.expectParked("a7")
		r.expectTaken(0, "a1 a2")
		p.expect("a1 a2")
	})
}

func TestAReplayIsRepeatedUntilItsDestinationTakesIt(t *testing.T) {
	t.Parallel()
	parkAfter := func(r *fixture, _ []delivery.Destination) { r.options.ParkAfter = time.Minute }
	run(t, one(fifo), func(r *fixture) {
		p := &replays{r: r}
		r.sinks[0].answers(failAll(errUnavailable))
		p.send("a1")
		r.elapse(time.Hour)
		p.expect("")
		r.expectParked("")
		r.sinks[0].answers(takeAll)
		r.elapse(time.Minute)
		p.expect("a1")
	}, parkAfter)
}
