package e2e_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
)

// refuseNumber makes the destinations refuse the event with this number permanently.
func (o *outage) refuseNumber(n int) *fakeaws.Rule {
	return o.refuseBody(`{"n" : ` + strconv.Itoa(n) + `}`)
}

// newBehind returns a test environment with one FIFO destination. It has the helpers of busy.
func newBehind(t *testing.T, w *testEnv) busy {
	return busy{&outage{testEnv: w, other: w.queue, env: []string{"RELAY_RETRY_MAX=300ms"}}}
}

// awaitBehind waits until the only dead letter holds an aggregate up.
func (b busy) awaitBehind() {
	b.t.Helper()
	b.awaitState("deferred")
	b.eventually("one event is a dead letter", func() bool { return b.deadLetters() == "parked" })
}

// awaitWaiting waits until the number of events that wait is stored.
func (b busy) awaitWaiting(n int) {
	b.t.Helper()
	b.eventually(strconv.Itoa(n)+" events wait", func() bool {
		return b.query(`SELECT sum(events)::text FROM outbox_deferrals WHERE state = 'deferred'`) == strconv.Itoa(n)
	})
}

// decide redrives or discards the dead letter.
func (b busy) decide(command string) {
	b.t.Helper()
	if out, err := b.command(nil, "dead-letters", command, "--all"); err != nil {
		b.t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// TestOneDeadLetterHoldsAThousandFollowers: the event is in the middle of its aggregate, and the
// relay is killed while a thousand events wait behind it.
func TestOneDeadLetterHoldsAThousandFollowers(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]int{"redrive": 1380, "discard": 1379} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			b := newBehind(t, newTestEnv(t, "orders.fifo"))
			refused := b.refuseNumber(2251)
			p := b.startStreaming(b.env...)
			b.write(1, 20)
			b.burst(2001, 2250) // delivered
			b.burst(2251, 2900)
			b.awaitBehind()
			b.write(21, 60)
			b.awaitWaiting(649)
			p.kill()
			b.burst(2901, 3200)
			b.write(61, 80)
			p = b.startStreaming(b.env...)
			b.burst(3201, 3300)
			b.eventually("the others have arrived", func() bool { _, others := b.arrivedOf(); return others == 80 })
			b.awaitStatus(1, "1 event is parked: 1 InvalidMessageContents; about ", b.env...)
			b.checkNothingFollows()
			refused.Clear()
			b.decide(command)
			b.awaitAll(want)
			b.awaitState("")
			b.burst(3301, 3320)
			b.awaitAll(want + 20)
			if got := b.deadLetters(); got != command+"n" && got != command+"ed" {
				t.Errorf("dead letters: %s", got)
			}
			p.stop()
		})
	}
}

// checkNothingFollows checks that no event behind the dead letter has arrived, and that it is
// alone.
func (b busy) checkNothingFollows() {
	b.t.Helper()
	b.awaitCheckpoint()
	if busy, _ := b.arrivedOf(); busy != 250 {
		b.t.Errorf("%d events of the aggregate have arrived, want 250", busy)
	}
	if letters := b.deadLetters(); letters != "parked" {
		b.t.Errorf("dead letters: %s", letters)
	}
}

// TestASecondRefusedEventHoldsTheRest: it is refused in the pass that follows the first one.
func TestASecondRefusedEventHoldsTheRest(t *testing.T) {
	t.Parallel()
	b := newBehind(t, newTestEnv(t, "orders.fifo"))
	first := b.refuseNumber(1010)
	second := b.refuseNumber(1030)
	p := b.startStreaming(b.env...)
	b.burst(1001, 1050)
	b.awaitBehind()
	first.Clear()
	b.decide("redrive")
	b.eventually("the second is a dead letter", func() bool { return b.deadLetters() == "redriven,parked" })
	b.write(1, 20)
	b.eventually("the others have arrived", func() bool { _, others := b.arrivedOf(); return others == 20 })
	b.awaitWaiting(20)
	if busy, _ := b.arrivedOf(); busy != 29 {
		t.Errorf("%d events of the aggregate have arrived, want 29", busy)
	}
	second.Clear()
	b.decide("redrive")
	b.burst(1051, 1060)
	if repeated := b.awaitAll(80); repeated > 0 {
		t.Errorf("%d events came twice", repeated)
	}
	b.awaitState("")
	if letters := b.deadLetters(); letters != "redriven,redriven" {
		t.Errorf("dead letters: %s", letters)
	}
	p.stop()
}

// TestAnEventIsRefusedAfterAnOutage: the pass of the destination continues without its aggregate.
func TestAnEventIsRefusedAfterAnOutage(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	refused := o.refuseNumber(45) // of 20 aggregates, each has every twentieth event
	p := o.deferWith(200)
	o.write(201, 400)
	o.end()
	o.eventually("the others have arrived", func() bool { return len(o.arrived()) == 400-18 })
	o.eventually("the aggregate waits alone", func() bool {
		return o.query(`SELECT string_agg(aggregate_id, ',') FROM outbox_deferrals WHERE state = 'deferred'`) == "5"
	})
	o.eventually("one event is a dead letter", func() bool { return o.deadLetters() == "parked" })
	refused.Clear()
	busy{o}.decide("redrive")
	if repeated := o.awaitAll(400); repeated > 0 {
		t.Errorf("%d events came twice", repeated)
	}
	o.awaitState("")
	if strings.Contains(p.log.String(), "event=rows_removed") {
		t.Error("the relay says that rows were removed")
	}
	p.stop()
}

// TestFollowersOfARecoveryWait: the recovery reads the refused event, and those behind it.
func TestFollowersOfARecoveryWait(t *testing.T) {
	t.Parallel()
	b := newBehind(t, newTestEnv(t, "orders.fifo"))
	refused := b.refuseNumber(1010)
	p := b.startStreaming(b.env...)
	p.kill()
	b.dropSlot()
	b.burst(1001, 1050)
	b.write(1, 20)
	p = b.startStreaming(b.env...)
	b.awaitBehind()
	b.burst(1051, 1060)
	refused.Clear()
	b.decide("redrive")
	b.awaitAll(80)
	b.awaitState("")
	p.stop()
}

// TestOlderDeadLettersOfAGroupGoFirst: a relay whose table keeps no rows has parked the followers.
func TestOlderDeadLettersOfAGroupGoFirst(t *testing.T) {
	t.Parallel()
	b := newBehind(t, newTestEnv(t, "orders.fifo"))
	refused := b.refuseNumber(1001)
	p := b.startStreaming(append(b.env, "RELAY_ROWS_STAY=deny")...)
	b.burst(1001, 1010)
	b.eventually("all are dead letters", func() bool {
		return b.query(`SELECT count(*)::text FROM outbox_dead_letters WHERE state = 'parked'`) == "10"
	})
	p.stop()
	p = b.startStreaming(b.env...)
	b.burst(1011, 1030)
	b.awaitState("deferred")
	b.awaitWaiting(20)
	if letters := b.query(`SELECT count(*)::text FROM outbox_dead_letters`); letters != "10" {
		t.Errorf("%s dead letters, want 10", letters)
	}
	refused.Clear()
	if out, err := b.command(nil, "dead-letters", "redrive", "--code", "InvalidMessageContents"); err != nil {
		t.Fatalf("redrive: %v: %s", err, out)
	}
	b.awaitAll(30)
	b.awaitState("")
	p.stop()
}

// behindSteps are texts of the statements by which a refused event becomes a dead letter, and the
// events behind it wait and follow.
var behindSteps = map[string]string{
	"dead letter to be stored": "INSERT INTO outbox_dead_letters",
	"deferral to be stored":    "INSERT INTO outbox_deferrals",
	"reason to be stored":      "SET reason = ",
	"redrive to be stored":     "SET state = 'redriven'",
	"pass to be stored":        "UPDATE outbox_deferrals d SET known",
}

// TestADeadLetterIsKilledAtEachStep: before the statement has reached the server, and after that,
// while its answer is on the way. The second refused event of the aggregate is met by a pass.
func TestADeadLetterIsKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for step, statement := range behindSteps {
		for name, answered := range map[string]bool{"before": false, "after": true} {
			for order, second := range map[string]bool{"first": false, "second": true} {
				if second && statement == behindSteps["deferral to be stored"] {
					continue // the aggregate is deferred already
				}
				t.Run(step+"/"+name+"/"+order, func(t *testing.T) {
					t.Parallel()
					checkBehindKilledAt(t, statement, answered, second)
				})
			}
		}
	}
}

func checkBehindKilledAt(t *testing.T, statement string, answered, second bool) {
	b := newBehind(t, newTestEnv(t, "orders.fifo"))
	if second {
		rule := b.refuseNumber(1003)
		p := b.startStreaming(b.env...)
		b.burst(1001, 1005)
		b.awaitBehind()
		rule.Clear()
		p.kill()
		b.decideUnheard()
	}
	refused := b.refuseNumber(1010)
	between, through := b.newNetwork()
	stop := between.HoldBack(statement)
	p := b.startStreaming(append(b.env, "DATABASE_URL="+through)...)
	b.burst(1006, 1030)
	b.awaitOrDecide(stop, refused)
	b.write(1, 20)
	if answered {
		between.Silence(faultproxy.Server)
		stop.Pass()
		time.Sleep(50 * time.Millisecond) // it has arrived, or the statement counts as lost
	}
	if second && !answered && statement == behindSteps["dead letter to be stored"] {
		b.awaitCheckpoint() // the cursor of a pass that did not wait for the dead letter is stored by then
		b.awaitCheckpoint()
	}
	b.burst(1031, 1040)
	p.kill()
	between.Close()
	b.startStreaming(b.env...)
	b.burst(1041, 1050)
	refused.Clear()
	first := 1005
	if second {
		first = 1000
	}
	b.eventually("all have arrived", func() bool {
		b.decideUnheard()
		return len(b.arrived()) == 20+1050-first
	})
	b.awaitAll(20 + 1050 - first)
	b.awaitState("")
	behind := b.query(`SELECT count(*)::text FROM outbox_dead_letters WHERE code = 'BlockedGroup'`)
	if behind != "0" {
		t.Errorf("%s events are dead letters behind another one", behind)
	}
}

// decideUnheard redrives the parked events, without waiting for a relay.
func (b busy) decideUnheard() {
	b.exec(`UPDATE outbox_dead_letters SET state = 'redriving', redrives = redrives + 1, updated_at = clock_timestamp()
		WHERE state = 'parked'`)
}

// awaitOrDecide waits until the proxy holds the statement back. Some need the operator's decision
// first.
func (b busy) awaitOrDecide(stop *faultproxy.Stop, refused *fakeaws.Rule) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for !isClosed(stop.Reached) {
		if time.Now().After(deadline) {
			b.t.Fatal("the proxy saw no message that it has to hold back")
		}
		if b.deferred() == "deferred" && strings.HasSuffix(b.deadLetters(), "parked") {
			b.awaitCheckpoint()
			if !isClosed(stop.Reached) {
				refused.Clear()
				b.decideUnheard()
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
