package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
)

// deferralSteps are texts of the statements by which a destination is deferred, drained and joined
// again.
var deferralSteps = map[string]string{
	"deferral to be stored":  "INSERT INTO outbox_deferrals",
	"first row to be found":  "WITH late AS",
	"rows to be looked at":   "looked AS MATERIALIZED",
	"pass to be stored":      "UPDATE outbox_deferrals d SET known",
	"join to be stored":      "unguarded AS (",
	"deferral to be removed": "DELETE FROM outbox_deferrals",
}

// TestADeferralIsKilledAtEachStep: before the statement has reached the server, and after that,
// while its answer is on the way.
func TestADeferralIsKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for step, statement := range deferralSteps {
		for name, answered := range map[string]bool{"before": false, "after": true} {
			t.Run(step+"/"+name, func(t *testing.T) {
				t.Parallel()
				checkDeferralKilledAt(t, statement, answered)
			})
		}
	}
}

func checkDeferralKilledAt(t *testing.T, statement string, answered bool) {
	o := newOutage(t, newTestEnv(t, "orders"))
	between, through := o.newNetwork()
	stop := between.HoldBack(statement)
	p := o.startStreaming(append(o.env, "DATABASE_URL="+through)...)
	if statement == deferralSteps["deferral to be stored"] {
		o.checkPositionIsHeld(stop)
	} else {
		o.write(1, 120)
		o.awaitState("deferred")
		o.write(121, 160)
		o.end()
		o.await(stop)
	}
	if answered {
		between.Silence(faultproxy.Server)
		stop.Pass()
		time.Sleep(50 * time.Millisecond) // it has arrived, or the statement counts as lost
	}
	o.write(161, 200)
	p.kill()
	between.Close()
	o.write(201, 240)
	o.startStreaming(o.env...)
	o.write(241, 260)
	o.awaitAny()
	o.end()
	o.awaitAll(260 - o.unwritten(statement))
	o.awaitState("")
	o.write(261, 280)
	o.awaitAll(280 - o.unwritten(statement))
}

// checkPositionIsHeld checks that no position passes the events while their deferral is not stored.
func (o *outage) checkPositionIsHeld(stop *faultproxy.Stop) {
	o.t.Helper()
	o.write(1, 40) // the window has room for other events
	end := o.query(`SELECT pg_current_wal_insert_lsn()::text`)
	o.await(stop)
	const at = `SELECT updated_at::text FROM relay_checkpoints WHERE slot_name = $1`
	before := o.query(at, o.slot)
	o.commit(event(o.t, "1", `{"other":true}`))
	o.awaitBody(`{"other":true}`)
	o.eventually("the checkpoint is saved", func() bool { return o.query(at, o.slot) != before })
	if o.query(`SELECT (flush_lsn >= $2::text::pg_lsn)::text FROM relay_checkpoints WHERE slot_name = $1`,
		o.slot, end) != "false" {
		o.t.Error("the position has passed the events before their deferral is stored")
	}
}

// unwritten is how many events are not written, because the destination was not deferred yet.
func (o *outage) unwritten(statement string) int {
	if statement == deferralSteps["deferral to be stored"] {
		return 120
	}
	return 0
}

// awaitAny waits until the relay is at work: the destination is deferred, or has everything.
func (o *outage) awaitAny() {
	o.t.Helper()
	o.eventually("the relay is at work", func() bool { return o.deferred() != "" || len(o.arrived()) > 0 })
}

// TestALateCommitIsDelivered: its seq lies below that of everything that the deferral knows.
func TestALateCommitIsDelivered(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newOwnServerEnv(t, "orders"))
	between, through := o.newNetwork()
	o.startStreaming(append(o.env, "DATABASE_URL="+through)...)
	var open []func()
	for i := range 4 {
		open = append(open, o.insertLate(1001+i))
	}
	o.write(1, 100)
	open[3]() // the window is full, so the relay has not read it when the deferral begins
	o.awaitState("deferred")
	open[0]() // below from_seq, and after known
	joining := between.HoldBack("state = 'joined'")
	o.end()
	o.await(joining)
	open[1]() // after the last pass, and before the join
	joining.Pass()
	o.awaitAll(103)
	o.awaitState("")
	open[2]() // after the join
	o.awaitAll(104)
}

// insertLate inserts an event in a transaction of its own, and returns its commit.
func (o *outage) insertLate(n int) (commit func()) {
	o.t.Helper()
	return o.insertLateOf(fmt.Sprint("late ", n), n)
}

func (o *outage) insertLateOf(aggregate string, n int) (commit func()) {
	o.t.Helper()
	conn, err := pgx.Connect(o.t.Context(), o.url) // the pool has four
	o.must(err)
	o.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(o.t.Context())
	o.must(err)
	_, err = tx.Exec(o.t.Context(), `
		INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'other', $1, 't', json_build_object('n', $2::int))`, aggregate, n)
	o.must(err)
	return func() { o.must(tx.Commit(o.t.Context())) }
}
