package e2e_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// newPausable returns an environment whose second destination is available. Its relays have no
// RELAY_PARK_AFTER: a pause needs none.
func newPausable(t *testing.T) *outage {
	t.Helper()
	o := newOutage(t, newTestEnv(t, "orders"))
	o.end()
	o.env = append(o.env, "RELAY_PARK_AFTER=0s")
	return o
}

// run runs a command of the relay that has to succeed.
func (o *outage) run(args ...string) string {
	o.t.Helper()
	output, err := o.command(o.env, args...)
	if err != nil {
		o.t.Fatalf("relay %s: %v: %s", strings.Join(args, " "), err, output)
	}
	return output
}

// requests counts the requests to the second destination from now on.
func (o *outage) requests() *fakeaws.Rule {
	return o.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Destination: "other.fifo"})
}

// passBy shows that events of the other destination flow.
func (o *outage) passBy(body string) {
	o.t.Helper()
	o.commit(event(o.t, "1", body))
	o.awaitBody(body)
}

// startPaused starts a relay, and pauses the second destination once it has got twenty events.
func (o *outage) startPaused() *process {
	o.t.Helper()
	p := o.startStreaming(o.env...)
	o.write(1, 20)
	o.awaitAll(20)
	o.run("pause", "other.fifo")
	return p
}

func TestAPausedDestinationGetsNothing(t *testing.T) {
	t.Parallel()
	o := newPausable(t)
	relay := o.startStreaming(o.env...)
	o.write(1, 20)
	o.awaitAll(20)
	if output := o.run("pause", "other.fifo", "--reason", "it moves"); !strings.Contains(output, "in effect") {
		t.Errorf("relay pause: %s", output)
	}
	sent := o.requests()
	o.write(21, 300) // more than the window holds
	o.passBy(`{"beside":1}`)
	output := o.awaitStatus(1, "about 280 events wait in the outbox table", o.env...)
	for _, text := range []string{
		"warning: " + o.other.ARN + " is paused since", ": it moves;", "relay resume " + o.other.ARN,
	} {
		if !strings.Contains(output, text) {
			t.Errorf("%q is missing in\n%s", text, output)
		}
	}
	if n := sent.Hits(); n > 0 {
		t.Errorf("%d requests were sent to a paused destination", n)
	}
	if output := o.run("resume", o.other.URL); !strings.Contains(output, "done: no event waits") {
		t.Errorf("relay resume: %s", output)
	}
	o.awaitAll(300)
	o.write(301, 320)
	if repeated := o.awaitAll(320); repeated > 0 {
		t.Errorf("%d events came twice", repeated)
	}
	o.awaitState("")
	o.awaitStatus(0, "dead letters  none", o.env...)
	relay.stop()
}

// TestAPauseEndsTheProbes of a destination that is unavailable, and its events are parked neither
// then nor later.
func TestAPauseEndsTheProbes(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	o.startStreaming(o.env...)
	o.write(1, 60)
	o.awaitState("deferred")
	o.run("pause", o.other.ARN)
	sent := o.requests()
	o.write(61, 120)
	o.awaitStatus(1, "about 120 events wait in the outbox table", o.env...)
	time.Sleep(time.Second) // probes would come every 300 ms
	if n := sent.Hits(); n > 0 {
		t.Errorf("%d requests were sent to a paused destination", n)
	}
	o.run("resume", "other.fifo", "--no-wait")
	o.eventually("it is probed", func() bool { return sent.Hits() > 1 })
	o.end()
	o.awaitAll(120)
	if letters := o.deadLetters(); letters != "" {
		t.Errorf("dead letters: %s", letters)
	}
}

// TestARedriveWaitsForTheEndOfAPause: no event is sent, whoever asks for it.
func TestARedriveWaitsForTheEndOfAPause(t *testing.T) {
	t.Parallel()
	o := newPausable(t)
	refused := o.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Entry: func(m *fakeaws.Message) bool {
		return strings.HasPrefix(m.Body, `{"n" : 5}`)
	}}, fakeaws.FailEntries("InvalidMessageContents", "refused by the test", true))
	o.env = append(o.env, "RELAY_ON_REJECTED=park")
	o.startStreaming(o.env...)
	o.write(1, 10)
	o.eventually("the event is parked", func() bool { return o.deadLetters() == "parked" })
	refused.Clear()
	o.run("pause", "other.fifo")
	sent := o.requests()
	o.run("dead-letters", "redrive", "--all", "--no-wait")
	o.awaitHorizon()
	o.run("replay", "--until", time.Now().Format(time.RFC3339Nano), "--yes", "--no-wait")
	o.passBy(`{"beside":1}`)
	time.Sleep(time.Second) // the redrive is looked for each second
	if n := sent.Hits(); n > 0 {
		t.Errorf("%d requests were sent to a paused destination", n)
	}
	o.run("resume", "other.fifo")
	o.eventually("the dead letter is redriven", func() bool { return o.deadLetters() == "redriven" })
	o.awaitAll(10)
}

// TestAPauseOutlivesTheLossOfTheSlot: the rows that the recovery reads wait too, whether a relay
// has taken the pause up before or not.
func TestAPauseOutlivesTheLossOfTheSlot(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"taken up": {}, "not taken up": {"--no-wait"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newPausable(t)
			p := o.startStreaming(o.env...)
			o.write(1, 20)
			o.awaitAll(20)
			o.awaitHorizon()
			if len(args) > 0 {
				p.kill()
			}
			o.run(append([]string{"pause", "other.fifo"}, args...)...)
			o.write(21, 120)
			p.kill()
			o.dropSlot()
			o.write(121, 240)
			sent := o.requests()
			o.startStreaming(o.env...)
			o.write(241, 260)
			o.passBy(`{"beside":1}`)
			if n := sent.Hits(); n > 0 {
				t.Errorf("%d requests were sent to a paused destination", n)
			}
			o.run("resume", "other.fifo")
			o.awaitAll(260)
			if letters := o.deadLetters(); letters != "" {
				t.Errorf("dead letters: %s", letters)
			}
		})
	}
}

// pauseSteps are texts of the statements by which a pause takes effect.
var pauseSteps = map[string]string{
	"pause to be read":       "SELECT destination, reason, paused_at",
	"deferral to be stored":  "INSERT INTO outbox_deferrals",
	"pause to be recorded":   "UPDATE outbox_pauses SET taken_at",
	"deferral to be counted": "UPDATE outbox_deferrals d SET known",
}

// TestAPauseIsKilledAtEachStep: before the statement has reached the server, and after that, while
// its answer is on the way.
func TestAPauseIsKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for step, statement := range pauseSteps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			o := newPausable(t)
			between, through := o.newNetwork()
			p := o.startStreaming(append(o.env, "DATABASE_URL="+through)...)
			o.write(1, 20)
			o.awaitAll(20)
			stop := between.HoldBack(statement)
			o.run("pause", "other.fifo", "--no-wait")
			o.eventuallyWrites(21, stop.Reached)
			p.kill()
			between.Close()
			o.write(1001, 1100)
			o.startStreaming(o.env...)
			o.run("pause", "other.fifo") // waits until it is in effect
			o.passBy(`{"beside":1}`)
			for n := range o.arrived() {
				if n > 1000 { // a request of the killed relay may have brought others
					t.Errorf("event %d arrived at a paused destination", n)
				}
			}
			o.run("resume", "other.fifo")
			written := o.query(`SELECT count(*)::text FROM outbox_events WHERE aggregate_type = 'other'`)
			o.eventually("all events have arrived", func() bool { return written == numberOf(o.arrived()) })
			o.awaitAll(len(o.arrived()))
		})
	}
}

// eventuallyWrites writes events one by one, from number first on, until reached is closed.
func (o *outage) eventuallyWrites(first int, reached <-chan struct{}) {
	o.t.Helper()
	deadline := time.After(patience)
	for n := first; ; n++ {
		select {
		case <-reached:
			return
		case <-deadline:
			o.t.Fatal("the proxy saw no message that it has to hold back")
		case <-time.After(20 * time.Millisecond):
			o.write(n, n)
		}
	}
}

func numberOf(arrived map[int]bool) string { return strconv.Itoa(len(arrived)) }

func TestPauseNamesTheDestinations(t *testing.T) {
	t.Parallel()
	o := newPausable(t)
	o.startStreaming(o.env...)
	o.awaitStatus(0, "streaming for", o.env...)
	for _, command := range []string{"pause", "resume"} {
		output, err := o.command(o.env, command, "othr.fifo")
		if err == nil || !strings.Contains(output, o.other.ARN) || !strings.Contains(output, o.queue.ARN) {
			t.Errorf("relay %s: %v: %s", command, err, output)
		}
	}
	if output, err := o.command(o.env, "resume", "other.fifo"); err == nil || !strings.Contains(output, "not paused") {
		t.Errorf("relay resume: %v: %s", err, output)
	}
	if output, err := o.command(append(o.env, "RELAY_ROWS_STAY=deny"), "pause", "other.fifo"); err == nil ||
		!strings.Contains(output, "RELAY_ROWS_STAY=deny says") {
		t.Errorf("relay pause: %v: %s", err, output)
	}
	if n := o.query(`SELECT count(*)::text FROM outbox_pauses`); n != "0" {
		t.Errorf("%s pauses are stored", n)
	}
}

func TestAPauseIsPrintedAsJSON(t *testing.T) {
	t.Parallel()
	o := newPausable(t)
	o.startStreaming(o.env...)
	o.awaitStatus(0, "streaming for", o.env...)
	for _, c := range []struct{ command, action string }{
		{"pause", "paused"}, {"pause", "already_paused"}, {"resume", "resumed"},
	} {
		if a, code := o.answer(o.env, c.command, "other.fifo"); code != 0 || a.Slot != o.slot || a.Action != c.action {
			t.Errorf("relay %s: exit code %d, %+v", c.command, code, a)
		}
	}
}
