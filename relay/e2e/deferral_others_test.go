package e2e_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// fill writes n events for the default destination.
func (o *outage) fill(n int) {
	o.t.Helper()
	o.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', i::text, 't', json_build_object('filled', i)
		FROM generate_series(1, $1::int) AS i`, n)
}

// TestAFullWindowHoldsUpNoPass: another destination does not answer, so the stream is not read. The
// rows that it was read past are delivered, and no other row is.
func TestAFullWindowHoldsUpNoPass(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	o.env = append(o.env, "RELAY_REQUEST_TIMEOUT=60s") // or it counts as unavailable, and is deferred
	p := o.deferWith(60)
	o.passBy(`{"beside":1}`)
	o.awaitHorizon()
	o.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Destination: "orders"}, fakeaws.Hang())
	o.fill(200)
	o.write(61, 80)
	p.kill() // the next pass begins after the window is full
	p = o.startStreaming(o.env...)
	o.end()
	o.eventually("the rows that the stream was read past have arrived", func() bool { return len(o.arrived()) >= 60 })
	o.eventually("the pass is stored", func() bool {
		return o.query(`SELECT from_seq::text FROM outbox_deferrals`) == "9223372036854775807"
	})
	if n := len(o.arrived()); n != 60 {
		t.Errorf("%d events have arrived, and the stream was read past 60", n)
	}
	p.kill()
	o.broker.ClearScript()
	o.startStreaming(o.env...)
	o.awaitAll(80)
	o.awaitState("")
}

// TestNoPassHoldsUpAnother: the rows of one are read as slowly as the server wants.
func TestNoPassHoldsUpAnother(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	third, err := o.broker.CreateQueue("third.fifo", nil)
	o.must(err)
	missing := o.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Destination: "third.fifo"}, fakeaws.Missing())
	o.env = append(o.env, "RELAY_ROUTES=aggregate:third="+third.ARN+";aggregate:other="+o.other.ARN)
	p := o.startStreaming(o.env...)
	o.write(1, 40)
	o.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'third', i::text, 't', '{"held":true}' FROM generate_series(1, 40) AS i`)
	o.eventually("both are deferred", func() bool {
		return o.query(`SELECT count(*)::text FROM outbox_deferrals WHERE state = 'deferred'`) == "2"
	})
	o.passBy(`{"beside":1}`)
	o.awaitHorizon()
	o.awaitCheckpoint()
	p.stop() // from now on, only a pass reads the rows
	between, through := o.newNetwork()
	held := between.HoldBack(`{"held":true}`)
	o.startStreaming(append(o.env, "DATABASE_URL="+through)...)
	o.await(held)
	missing.Clear()
	o.end()
	began := time.Now()
	o.awaitAll(40)
	t.Logf("delivered within %v beside a pass whose statement has no answer", time.Since(began))
	if n := o.broker.ReceivedCount(third.ARN); n > 0 {
		t.Errorf("%d events arrived whose rows were held back", n)
	}
	held.Pass()
	o.eventually("so has the other", func() bool { return o.broker.ReceivedCount(third.ARN) >= 40 })
}

// TestAnOutageInARecoveryIsDeferred: the events wait in the table, and none becomes a dead letter.
func TestAnOutageInARecoveryIsDeferred(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	o.end()
	p := o.startStreaming(o.env...)
	o.write(1, 20)
	o.awaitAll(20)
	o.awaitHorizon()
	p.kill()
	o.begin()
	o.dropSlot()
	o.write(21, 200)
	o.commit(event(t, "1", `{"beside":1}`)) // behind more rows than the window holds
	p = o.startStreaming(o.env...)
	o.awaitBody(`{"beside":1}`)
	o.write(201, 240)
	o.awaitState("deferred")
	p.kill()
	o.startStreaming(o.env...)
	o.end()
	if repeated := o.awaitAll(240); repeated > 0 {
		t.Errorf("%d events came twice", repeated)
	}
	o.awaitState("")
	if letters := o.deadLetters(); letters != "" {
		t.Errorf("dead letters: %s", letters)
	}
}

// TestADeferralOutlivesItsCheckpoint: an operator deletes the checkpoint row while events wait.
func TestADeferralOutlivesItsCheckpoint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start    string
		dropSlot bool
	}{
		"slot kept, start now":     {"now", false},
		"slot kept, start table":   {"table", false},
		"slot dropped, start now":  {"now", true},
		"slot dropped, from table": {"table", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOutage(t, newTestEnv(t, "orders"))
			p := o.deferWith(60)
			o.write(61, 80)
			o.passBy(`{"beside":1}`)
			o.awaitCheckpoint()
			p.kill()
			o.exec(`DELETE FROM relay_checkpoints WHERE slot_name = $1`, o.slot)
			if c.dropSlot {
				o.dropSlot()
			}
			o.write(81, 100)
			o.startStreaming(append(o.env, "RELAY_START="+c.start)...)
			o.write(101, 120)
			o.end()
			o.awaitAll(120)
			o.awaitState("")
			o.write(121, 140)
			o.awaitAll(140)
		})
	}
}
