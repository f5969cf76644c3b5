package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// deferWith starts a relay, writes events 1 to n, and waits until the destination is deferred.
func (o *outage) deferWith(n int, env ...string) *process {
	o.t.Helper()
	p := o.startStreaming(append(o.env, env...)...)
	o.write(1, n)
	o.awaitState("deferred")
	return p
}

// TestRetentionKeepsWhatWaits, also that of a relay which knows no deferrals.
func TestRetentionKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newOwnServerEnv(t, "orders"))
	first := o.startStreaming(o.env...)
	o.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at)
		VALUES (gen_random_uuid(), 'order', 'marker', 't', '{"marker":true}', now() + interval '1 day')`)
	o.awaitBody(`{"marker":true}`)
	o.awaitHorizon()
	first.stop()
	o.startStreaming(append(o.env, "RELAY_RETENTION=1s")...) // its deferral begins with it
	commit := o.insertLate(61)                               // its seq is lower than theirs
	o.write(1, 60)
	o.awaitState("deferred")
	commit()
	o.commit(event(t, "1", `{"other":true}`))
	o.awaitBody(`{"other":true}`)
	o.awaitHorizon()
	// The statement that removes the marker could remove the others too.
	o.exec(`UPDATE outbox_events SET created_at = '2001-01-01' WHERE aggregate_id = 'marker'`)
	o.commit(event(t, "1", `{"after":true}`)) // a horizon shows the UPDATE then
	o.eventually("the marker is removed", func() bool {
		return o.query(`SELECT count(*)::text FROM outbox_events WHERE aggregate_id = 'marker'`) == "0"
	})
	var epoch, pid int64
	o.must(o.pool.QueryRow(t.Context(), `SELECT epoch, active_pid
		FROM relay_checkpoints JOIN pg_replication_slots USING (slot_name)
		WHERE slot_name = $1`, o.slot).Scan(&epoch, &pid))
	var removed int
	o.must(o.pool.QueryRow(t.Context(), olderStatements(t)["remove rows"],
		o.slot, epoch, pid, "public.outbox_events", "1 second", int64(0), 1000).
		Scan(&removed, nil, nil, nil))
	if removed != 0 {
		t.Errorf("an older relay would remove %d rows that wait", removed)
	}
	if rows := o.query(`SELECT count(*)::text FROM outbox_events WHERE aggregate_type = 'other'`); rows != "61" {
		t.Errorf("%s rows are left", rows)
	}
	o.end()
	o.awaitAll(61)
	o.eventually("the rows are removed", func() bool {
		return o.query(`SELECT count(*)::text FROM outbox_events`) == "0"
	})
}

// The event is refused after its row was read. A relay that is killed before the dead letter is
// stored reads the row again.
func TestARefusedRowIsParkedBeforeItIsDone(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	o.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Entry: func(m *fakeaws.Message) bool {
		return strings.HasPrefix(m.Body, `{"n" : 5}`)
	}}, fakeaws.FailEntries("InvalidMessageContents", "refused by the test", true))
	between, through := o.newNetwork()
	parking := between.HoldBack("INSERT INTO outbox_dead_letters")
	p := o.deferWith(40, "RELAY_ON_REJECTED=park", "DATABASE_URL="+through)
	o.end()
	o.await(parking)
	o.eventually("the others have arrived", func() bool { return len(o.arrived()) == 38 }) // 25 is behind it
	o.commit(event(t, "1", `{"other":true}`))
	o.awaitBody(`{"other":true}`)
	o.awaitCheckpoint()
	p.kill()
	between.Close()
	o.startStreaming(append(o.env, "RELAY_ON_REJECTED=park")...)
	o.eventually("the event is parked", func() bool { return o.deadLetters() == "parked" })
	o.eventually("the deferral has ended", func() bool { return o.deferred() != "deferred" })
}

func TestRemovedRowsAreReported(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	p := o.deferWith(40)
	o.write(41, 60)
	o.awaitCheckpoint() // the pass that has the events before is under way
	o.write(61, 80)
	o.awaitCheckpoint()
	o.exec(`DELETE FROM outbox_events WHERE payload->>'n' IN ('65', '70')`)
	o.end()
	o.awaitAll(78)
	p.awaitLog("event=rows_removed")
	if !strings.Contains(p.log.String(), "events=2") {
		t.Error("the log does not say that two events are lost")
	}
}

// The horizon shows the events, because their deferral is stored. They were not delivered.
func TestAReplayExcludesWhatWaits(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	o.deferWith(20)
	o.commit(event(t, "1", `{"other":true}`))
	o.awaitBody(`{"other":true}`)
	o.awaitHorizon()
	out, err := o.command(o.env, "replay", "--until", time.Now().Format(time.RFC3339Nano), "--yes")
	if err != nil {
		t.Fatalf("replay: %v: %s", err, out)
	}
	o.eventually("the delivered event arrives again", func() bool { return o.bodies()[`{"other":true}`] == 2 })
	o.end()
	if repeated := o.awaitAll(20); repeated > 0 {
		t.Errorf("%d events came twice", repeated)
	}
}

// TestADeferralOutlivesAGap: the rows that the recovery reads belong to the deferral too.
func TestADeferralOutlivesAGap(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	p := o.deferWith(60)
	p.kill()
	o.write(61, 90)
	o.dropSlot()
	o.write(91, 120)
	p = o.startStreaming(o.env...)
	o.write(121, 140)
	if letters := o.deadLetters(); letters != "" {
		t.Errorf("dead letters: %s", letters)
	}
	o.end()
	o.awaitAll(140)
	o.awaitState("")
	p.stop()
}

// TestChangedRoutesLoseNoEvent: the events wait for a destination to which no route leads any more.
func TestChangedRoutesLoseNoEvent(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders.fifo"))
	o.deferWith(60).stop()
	gone := o.other
	o.other = o.queue // where they go now
	p := o.start("RELAY_PARK_AFTER=1s")
	p.awaitLog("event=streaming")
	o.write(61, 80)
	o.awaitAll(80)
	o.awaitState("")
	if n := len(o.broker.Received(gone.ARN)); n != 0 {
		t.Errorf("the destination before received %d", n)
	}
}

// TestACommitThatAwaitsAStandbyIsDeferred: the log brings a commit that no snapshot shows yet, and
// the relay that dropped it is replaced. The stream is joined only once a snapshot shows it.
func TestACommitThatAwaitsAStandbyIsDeferred(t *testing.T) {
	t.Parallel()
	server := newServerWith(t, map[string]string{
		"synchronous_standby_names": "standby",
		"synchronous_commit":        "local", // the test's other commits do not wait
	})
	o := newOutage(t, newTestEnvOn(t, server.URL("relay", "relay"), "orders"))
	standby := o.startStandby(server.URL("relay", "postgres"))
	p := o.deferWith(40)
	committed := make(chan error, 1)
	go func() {
		committed <- pgx.BeginFunc(context.Background(), o.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(context.Background(), `SET LOCAL synchronous_commit = remote_apply`)
			if err == nil {
				_, err = tx.Exec(context.Background(), `
					INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
					VALUES (gen_random_uuid(), 'other', 'late', 't', json_build_object('n', 1000))`)
			}
			return err
		})
	}()
	o.eventually("the commit waits for the standby", func() bool {
		return o.query(`SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'SyncRep'`) == "1"
	})
	o.write(41, 60)
	o.awaitCheckpoint()
	p.stop()
	p = o.startStreaming(o.env...)
	o.end()
	o.eventually("what is visible has arrived", func() bool { return len(o.arrived()) == 60 })
	o.write(61, 80)
	o.eventually("more has arrived", func() bool { return len(o.arrived()) == 80 })
	if state := o.deferred(); state != "deferred" || strings.Contains(p.log.String(), "event=deferral_ended") {
		t.Errorf("the deferral is %s", state)
	}
	close(standby)
	o.must(<-committed)
	o.awaitAll(81)
	o.awaitState("")
}
