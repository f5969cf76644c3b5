package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// busy is a test environment with one FIFO destination that takes 15 ms for each request, so one
// aggregate gets at most 66 events a second. It shares the helpers of outage.
type busy struct{ *outage }

func newBusy(t *testing.T, w *testEnv) busy {
	t.Helper()
	w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(15*time.Millisecond))
	return busy{&outage{testEnv: w, other: w.queue, env: []string{"RELAY_WINDOW_EVENTS=200"}}}
}

// slow delays the busy aggregate further, until end is called. The aggregate cannot catch up
// meanwhile, even if the machine stalls.
func (b busy) slow() (end func()) {
	return b.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Entry: func(m *fakeaws.Message) bool {
		return m.GroupID == "other/busy"
	}}, fakeaws.Delay(200*time.Millisecond)).Clear
}

// burst writes events from number first to last of the busy aggregate, in transactions of 50.
func (b busy) burst(first, last int) {
	b.t.Helper()
	for i := first; i <= last; i += 50 {
		b.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
			SELECT gen_random_uuid(), 'other', 'busy', 't', json_build_object('n', i)
			FROM generate_series($1::int, $2::int) AS i`,
			i, min(last, i+49))
	}
}

// arrivedOf counts different events of the busy aggregate that have arrived, and those of others.
func (b busy) arrivedOf() (busy, others int) {
	seen := map[string]bool{}
	for _, r := range b.broker.Received(b.queue.ARN) {
		if seen[r.Body] {
			continue
		}
		if seen[r.Body] = true; r.GroupID == "other/busy" {
			busy++
		} else {
			others++
		}
	}
	return busy, others
}

// TestABusyAggregateHoldsUpNoOther: it gets more in a moment than it is sent in ten seconds.
func TestABusyAggregateHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	b := newBusy(t, newTestEnv(t, "orders.fifo"))
	relay := b.startStreaming(b.env...)
	b.write(1, 20)
	b.awaitCheckpoint()
	catchUp := b.slow()
	b.burst(1001, 1700)
	b.awaitState("deferred")
	b.write(21, 420)
	b.eventually("the others have arrived", func() bool { _, others := b.arrivedOf(); return others == 420 })
	if busy, _ := b.arrivedOf(); busy > 400 {
		t.Errorf("the others have arrived after %d of 700 events of the busy aggregate", busy)
	}
	if out, err := b.command(b.env, "status"); !strings.Contains(out, "events of other busy for") {
		t.Errorf("status: %v: %s", err, out)
	}
	catchUp()
	b.awaitAll(1120)
	b.awaitState("")
	b.burst(1701, 1720)
	b.write(421, 440)
	if repeated := b.awaitAll(1160); repeated > 0 {
		t.Errorf("%d events came twice", repeated)
	}
	if letters := b.deadLetters(); letters != "" {
		t.Errorf("dead letters: %s", letters)
	}
	if guard := b.query(`SELECT outbox_table FROM relay_checkpoints WHERE slot_name LIKE '% deferred'`); guard != "" {
		t.Errorf("the guard still names table %s", guard)
	}
	relay.stop()
}

// TestABusyAggregateHoldsUpNoPass: it is in the middle of what waited for the destination, and has
// more events than a pass has with delivery at the same time.
func TestABusyAggregateHoldsUpNoPass(t *testing.T) {
	t.Parallel()
	b := newBusy(t, newTestEnv(t, "orders.fifo"))
	b.env = append(b.env, "RELAY_PARK_AFTER=1s", "RELAY_RETRY_MAX=300ms")
	p := b.startStreaming(b.env...)
	down := b.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Missing())
	b.write(1, 20)
	b.awaitState("deferred")
	catchUp := b.slow()
	b.burst(1001, 2500)
	b.write(21, 420)
	b.awaitCheckpoint()
	down.Clear()
	b.eventually("the others have arrived", func() bool { _, others := b.arrivedOf(); return others == 420 })
	if busy, _ := b.arrivedOf(); busy > 400 {
		t.Errorf("the others have arrived after %d of 1500 events of the busy aggregate", busy)
	}
	catchUp()
	p.kill()
	b.burst(2501, 2520)
	b.write(421, 440)
	p = b.startStreaming(b.env...)
	b.awaitAll(1960)
	b.awaitState("")
	if letters := b.deadLetters(); letters != "" {
		t.Errorf("dead letters: %s", letters)
	}
	p.stop()
}

// TestRetentionKeepsTheRowsOfABusyAggregate, and no others.
func TestRetentionKeepsTheRowsOfABusyAggregate(t *testing.T) {
	t.Parallel()
	b := newBusy(t, newTestEnv(t, "orders.fifo"))
	catchUp := b.slow()
	b.startStreaming(append(b.env, "RELAY_RETENTION=1s")...)
	b.burst(1001, 2000)
	b.awaitState("deferred")
	b.write(1, 100)
	b.exec(`UPDATE outbox_events SET created_at = '2001-01-01'`)
	b.eventually("rows of others are removed", func() bool {
		return b.query(`SELECT count(*)::text FROM outbox_events WHERE aggregate_id <> 'busy'`) == "0"
	})
	if busy, _ := b.arrivedOf(); busy > 950 {
		t.Errorf("%d of 1000 events of the busy aggregate have arrived: too few rows wait", busy)
	}
	catchUp()
	b.awaitAll(1100)
	b.eventually("all rows are removed", func() bool {
		return b.query(`SELECT count(*)::text FROM outbox_events`) == "0"
	})
}

// TestABusyAggregateOutlivesAGap: the rows that the recovery reads belong to the deferral too.
func TestABusyAggregateOutlivesAGap(t *testing.T) {
	t.Parallel()
	b := newBusy(t, newTestEnv(t, "orders.fifo"))
	p := b.startStreaming(b.env...)
	b.burst(1001, 1300)
	b.awaitState("deferred")
	p.kill()
	b.burst(1301, 1330)
	b.write(1, 30)
	b.dropSlot()
	b.burst(1331, 1360)
	b.write(31, 60)
	p = b.startStreaming(b.env...)
	b.burst(1361, 1380)
	b.awaitAll(440)
	b.awaitState("")
	p.stop()
}

// The replay includes the delivered events of the other aggregates.
func TestAReplayExcludesWhatWaitsOfAnAggregate(t *testing.T) {
	t.Parallel()
	b := newBusy(t, newTestEnv(t, "orders.fifo"))
	b.startStreaming(b.env...)
	b.write(1, 20)
	catchUp := b.slow()
	b.burst(1001, 1300)
	b.awaitState("deferred")
	b.awaitHorizon()
	out, err := b.command(b.env, "replay", "--until", time.Now().Format(time.RFC3339Nano), "--yes")
	if err != nil {
		t.Fatalf("replay: %v: %s", err, out)
	}
	b.eventually("the delivered events arrive again", func() bool {
		for i := 1; i <= 20; i++ {
			if b.bodies()[fmt.Sprintf(`{"n" : %d}`, i)] < 2 {
				return false
			}
		}
		return true
	})
	catchUp()
	if repeated := b.awaitAll(320); repeated > 250 {
		t.Errorf("%d events came twice", repeated)
	}
}

// TestALateCommitOfABusyAggregateArrives: its seq lies below that of everything that waits.
func TestALateCommitOfABusyAggregateArrives(t *testing.T) {
	t.Parallel()
	b := newBusy(t, newOwnServerEnv(t, "orders.fifo"))
	between, through := b.newNetwork()
	b.startStreaming(append(b.env, "DATABASE_URL="+through)...)
	var open []func()
	for i := range 3 {
		open = append(open, b.insertLateOf("busy", 5001+i))
	}
	joining := between.HoldBack("state = 'joined',")
	catchUp := b.slow()
	b.burst(1, 200)
	b.awaitState("deferred")
	open[0]() // below from_seq, and after known
	catchUp()
	b.await(joining)
	open[1]() // after the last pass, and before the join
	joining.Pass()
	b.eventually("both have arrived", func() bool { return len(b.arrived()) == 202 })
	b.awaitState("")
	open[2]() // after the join
	b.eventually("all have arrived", func() bool { return len(b.arrived()) == 203 })
}

// TestAnAggregateAndItsDestinationAreDeferred: the destination becomes unavailable while rows of
// the aggregate wait.
func TestAnAggregateAndItsDestinationAreDeferred(t *testing.T) {
	t.Parallel()
	b := newBusy(t, newTestEnv(t, "orders.fifo"))
	b.env = append(b.env, "RELAY_PARK_AFTER=1s", "RELAY_RETRY_MAX=300ms")
	catchUp := b.slow()
	b.startStreaming(b.env...)
	b.burst(1001, 1300)
	b.awaitState("deferred")
	down := b.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Missing())
	b.write(1, 20)
	b.eventually("both are deferred", func() bool {
		return b.query(`SELECT count(*)::text FROM outbox_deferrals WHERE state = 'deferred'`) == "2"
	})
	catchUp()
	b.burst(1301, 1320)
	b.write(21, 40)
	down.Clear()
	b.write(41, 60)
	b.burst(1321, 1340)
	b.awaitAll(400)
	b.awaitState("")
}

// TestRowsThatAreDeletedAtOnceAreNotDeferred: no pass would find them.
func TestRowsThatAreDeletedAtOnceAreNotDeferred(t *testing.T) {
	t.Parallel()
	b := newBusy(t, newTestEnv(t, "orders.fifo"))
	b.startStreaming(b.env...)
	for i := 1; i <= 250; i += 50 {
		b.must(pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `INSERT INTO outbox_events
				(id, aggregate_type, aggregate_id, event_type, payload)
				SELECT gen_random_uuid(), 'other', 'busy', 't', json_build_object('n', i)
				FROM generate_series($1::int, $1 + 49) AS i`, i)
			if err == nil {
				_, err = tx.Exec(t.Context(), `DELETE FROM outbox_events`)
			}
			return err
		}))
	}
	if repeated := b.awaitAll(250); repeated > 0 {
		t.Errorf("%d events came twice", repeated)
	}
}
