package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// walks has the runbooks of the alarms that need no AWS. Each walk causes the fault on real parts,
// runs every command of its section as the page has it, and fixes the fault.
var walks = map[string]func(*runbook){
	"Relay not streaming": walkNotStreaming,
	"Delivery delayed":    walkDelayed,
	"Delivery far behind": walkFarBehind,
	"Slot holds log back": walkHoldsLogBack,
	"Slot in danger":      walkInDanger,
	"Slot lost":           walkSlotLost,
	"Log fills disk":      walkFillsDisk,
	"Events parked":       walkParked,
	"Events unrouted":     walkUnrouted,
	"Events deferred":     walkDeferred,
	"Aggregates behind":   walkBehind,
	"Destination paused":  walkPaused,
	"Large events wait":   walkLargeEventsWait,
}

// needAWS has the runbooks of alarms on services of AWS, which no test has.
var needAWS = []string{
	"Relay tasks missing", "Api fails", "Consumers behind", "Disk fills up", "Database busy", "Consumers gave up",
	"Events undelivered", "Shipments behind", "Shipments given up", "Shipments undelivered",
}

func TestEachRunbookEndsItsAlarm(t *testing.T) {
	t.Parallel()
	sections, alarms := runbookSections(t), relayAlarms(t)
	for heading, commands := range sections {
		if len(commands) == 0 || commands[0] != "relay status" {
			t.Errorf("the runbook %q does not begin with what relay status says: %q", heading, commands)
		}
		walk := walks[heading]
		if walk == nil {
			if alarms[heading] != nil || !slices.Contains(needAWS, heading) {
				t.Errorf("no test walks the runbook %q", heading)
			}
			continue
		}
		t.Run(heading, func(t *testing.T) {
			t.Parallel()
			r := &runbook{t: t, commands: commands, ran: map[string]bool{}, alarm: alarms[heading]}
			walk(r)
			for _, command := range commands {
				if !r.ran[command] {
					t.Errorf("the walk did not run %q", command)
				}
			}
			if r.alarm != nil && !r.ended {
				t.Error("the walk did not see the end of its alarm")
			}
		})
	}
	for heading := range walks {
		if _, exists := sections[heading]; !exists {
			t.Errorf("there is no runbook %q", heading)
		}
	}
}

// begin starts a streaming relay in an environment of its own.
func (r *runbook) begin(env ...string) {
	r.t.Helper()
	r.testEnv, r.env = newTestEnv(r.t, "orders.fifo"), env
	r.relay = r.startScraped()
	r.relay.awaitLog("event=streaming")
}

// Another deployment holds the slot.
func walkNotStreaming(r *runbook) {
	r.testEnv = newTestEnv(r.t, "orders.fifo")
	holder := r.startStreaming()
	r.relay = r.startScraped()
	r.fires()
	if pid := r.query("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'outbox_relay'",
		"outbox_relay", r.slot); pid == "[<nil>]" {
		r.t.Error("the statement of the page names no process that holds the slot")
	}
	r.run("relay check")
	r.run("relay status")
	holder.stop()
	r.ends()
}

func walkDelayed(r *runbook) {
	r.begin()
	gone := r.broker.Script(fakeaws.Match{Action: "SendMessageBatch"},
		fakeaws.Refuse(http.StatusBadRequest, "QueueDoesNotExist", "no such queue"))
	r.commit(event(r.t, "1", `{"n":1}`))
	r.fires()
	r.statusSays(r.queue.ARN+" has accepted nothing since", "QueueDoesNotExist")
	r.run("relay check")
	gone.Clear()
	r.awaitBody(`{"n":1}`)
	r.ends()
	received := len(r.broker.Received(r.queue.ARN))
	r.awaitHorizon() // a replay selects the events whose delivery is recorded
	r.run("relay replay --since TIME", "TIME", "1h")
	r.run("relay replay --since TIME --yes", "TIME", "1h")
	r.eventually("the event is sent again", func() bool {
		return len(r.broker.Received(r.queue.ARN)) > received
	})
}

func walkFarBehind(r *runbook) {
	r.begin()
	slow := r.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	r.commit(event(r.t, "1", `{"n":1}`))
	r.exec(`CREATE TABLE bulk AS SELECT i, repeat('x', 500) FROM generate_series(1, 5000) AS i`)
	r.fires()
	r.query("SELECT pid, usename, backend_xid FROM pg_stat_activity WHERE backend_xid IS NOT NULL " +
		"ORDER BY age(backend_xid) DESC LIMIT 5")
	r.statusSays("of log not confirmed")
	slow.Clear()
	r.ends()
}

// A migration left its slot behind.
func walkHoldsLogBack(r *runbook) {
	r.testEnv = newTestEnv(r.t, "orders.fifo")
	slot := r.slot + "_left"
	r.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, slot)
	r.checkSays(r.query("SELECT slot_name, active, wal_status, safe_wal_size, restart_lsn, confirmed_flush_lsn "+
		"FROM pg_replication_slots"), slot+" false reserved")
	r.run("relay status")
	r.query("SELECT pg_drop_replication_slot('name')", "name", slot)
	if r.testEnv.query(`SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = $1`, slot) != "0" {
		r.t.Error("the slot is not dropped")
	}
}

func walkFillsDisk(r *runbook) {
	r.testEnv = newTestEnv(r.t, "orders.fifo")
	r.query("SELECT * FROM pg_prepared_xacts")
	r.run("relay status")
}

// The limit is raised without a restart, as the page says.
func walkInDanger(r *runbook) {
	server := newServerWith(r.t, map[string]string{"checkpoint_timeout": "1h"})
	r.testEnv = newTestEnvOn(r.t, server.URL("relay", pgtest.Superuser), "orders.fifo")
	r.exec(`ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'`)
	r.exec(`SELECT pg_reload_conf()`)
	r.relay = r.startScraped()
	r.relay.awaitLog("event=streaming")
	slow := r.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	r.commit(event(r.t, "1", `{"n":1}`))
	for range 3 { // segments of 16 MB
		r.exec(`SELECT pg_logical_emit_message(false, 'test', 'x')`)
		r.exec(`SELECT pg_switch_wal()`)
	}
	r.fires()
	r.statusSays("the slot keeps", "raise max_slot_wal_keep_size")
	r.exec(`ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'`)
	r.exec(`SELECT pg_reload_conf()`)
	r.ends()
	slow.Clear()
	r.awaitBody(`{"n":1}`)
}

// The relay repairs the first loss by itself. The second one halts the deployment, and so does that
// of a table without a sequence.
func walkSlotLost(r *runbook) {
	r.begin()
	r.eventually("the slot is dropped", func() bool {
		_, _ = r.pool.Exec(r.t.Context(), `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
			WHERE slot_name = $1`, r.slot)
		_, err := r.pool.Exec(r.t.Context(), `SELECT pg_drop_replication_slot($1)`, r.slot)
		return err == nil
	})
	r.fires()
	r.ends()
	r.statusSays("last gap")
	r.relay.stop()
	r.dropSlot()
	r.commit(event(r.t, "1", `{"n":7}`))
	r.env = []string{"RELAY_ON_SLOT_LOSS=halt"}
	if output, err := r.command(r.env, "run"); err == nil {
		r.t.Errorf("the relay does not halt: %s", output)
	}
	r.statusSays("cannot bring every event")
	r.run("relay recover")
	r.run("relay recover --yes")
	r.relay = r.startScraped()
	r.awaitBody(`{"n":7}`)
	r.ends()

	plain := *r
	plain.testEnv, plain.env = newPlainTable(r.t, "orders"), append(slices.Clone(plainColumns), "RELAY_START=now")
	plain.startStreaming(plain.env...).stop()
	plain.dropSlot()
	if output, err := plain.command(plain.env, "run"); err == nil {
		r.t.Errorf("the relay of a plain table does not halt: %s", output)
	}
	plain.run("relay recover --accept-loss")
	plain.run("relay recover --accept-loss --yes")
	plain.startStreaming(plain.env...)
}

func walkParked(r *runbook) {
	r.begin("RELAY_RETRY_MAX=300ms")
	first, second := r.refuseBody(`{"n":1}`), r.refuseBody(`{"n":2}`)
	r.commit(event(r.t, "1", `{"n":1}`), event(r.t, "2", `{"n":2}`))
	r.eventually("both are parked", func() bool {
		r.commit(event(r.t, "3", `{"n":3}`)) // an accepted event proves that the destination works
		return r.deadLetters() == "parked,parked"
	})
	r.fires()
	r.checkSays(r.run("relay dead-letters list"), "2 dead letters")
	r.statusSays("parked: 2 ")
	// the two groups are refused in any order
	position := r.testEnv.query(`SELECT position::text FROM outbox_dead_letters WHERE message_group = 'order/2'`)
	r.checkSays(r.run("relay dead-letters show 17", "17", position), "position", position)
	id := r.testEnv.query(`SELECT event_id FROM outbox_dead_letters WHERE message_group = 'order/2'`)
	r.exec(`UPDATE outbox_events SET payload = '{"n":22}' WHERE id::text = $1`, id)
	r.run("relay dead-letters discard 17", "17", position)
	r.run("relay replay --event-id EVENT_ID --yes", "EVENT_ID", id)
	r.awaitBody(`{"n":22}`)
	first.Clear()
	second.Clear()
	r.run("relay dead-letters redrive --all")
	r.awaitBody(`{"n":1}`)
	r.ends()
}

func walkUnrouted(r *runbook) {
	r.testEnv = newTestEnv(r.t, "orders.fifo")
	old, all := newPatterned(r.t, r.testEnv, "a"), []string{"a", "b"}
	r.exec(`ALTER TABLE outbox_events ALTER COLUMN topic SET DEFAULT 'a'`)
	r.env = append(slices.Clone(old.env), "RELAY_UNKNOWN_DESTINATION=park")
	old.create("a")
	r.relay = r.startScraped()
	r.relay.awaitLog("event=streaming")
	r.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, topic)
		VALUES (gen_random_uuid(), 'order', '1', 't', '{"n":1}', 'b')`)
	r.fires()
	r.relay.awaitLog("event=destination_unknown")
	r.statusSays("parked: 1 UnknownDestination")
	r.relay.stop()
	old.create("b")
	r.env = append(r.env, "RELAY_ALLOWED_DESTINATIONS="+sqsPrefix+"{"+strings.Join(all, ",")+"}.fifo")
	r.relay = r.startScraped()
	r.relay.awaitLog("event=streaming")
	r.run("relay check")
	r.run("relay dead-letters discard --code UnknownDestination")
	r.run("relay replay --event-id EVENT_ID --yes", "EVENT_ID", r.testEnv.query(`SELECT id::text FROM outbox_events`))
	r.eventually("the event is at its new destination", func() bool {
		return len(r.broker.Received(old.queues["b"].ARN)) == 1
	})
	r.ends()
}

func walkDeferred(r *runbook) {
	r.begin("RELAY_PARK_AFTER=1s", "RELAY_RETRY_MAX=200ms")
	away := r.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Unavailable())
	r.commit(event(r.t, "1", `{"n":1}`))
	r.fires()
	r.statusSays("deferred", r.queue.ARN+" has accepted nothing since", "in the outbox table")
	away.Clear()
	r.awaitBody(`{"n":1}`)
	r.ends()
}

func walkBehind(r *runbook) {
	b := newBusy(r.t, newTestEnv(r.t, "orders.fifo"))
	r.testEnv, r.env = b.testEnv, b.env
	r.relay = r.startScraped()
	r.relay.awaitLog("event=streaming")
	catchUp := b.slow()
	b.burst(1, 400)
	r.fires()
	r.statusSays("events of other busy for")
	catchUp()
	r.ends()
}

func walkPaused(r *runbook) {
	r.begin()
	r.run("relay pause DESTINATION", "DESTINATION", r.queue.ARN)
	r.commit(event(r.t, "1", `{"n":1}`))
	r.fires()
	r.statusSays(r.queue.ARN + " is paused since")
	r.run("relay resume DESTINATION", "DESTINATION", r.queue.ARN)
	r.awaitBody(`{"n":1}`)
	r.ends()
}

// query runs a statement of the page with these replacements, and returns its rows as text.
func (r *runbook) query(statement string, replacements ...string) string {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), r.take(statement, replacements))
	r.must(err)
	defer rows.Close()
	var text strings.Builder
	for rows.Next() {
		values, err := rows.Values()
		r.must(err)
		fmt.Fprintln(&text, values...)
	}
	r.must(rows.Err())
	return text.String()
}
