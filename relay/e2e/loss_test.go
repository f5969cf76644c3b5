package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestSlotReplacedBeforeItsAcquisitionLosesNothing(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	between, through := w.newNetwork()
	acquiring := between.HoldBack("START_REPLICATION")
	w.start("DATABASE_URL=" + through)
	w.await(acquiring) // the relay has created the slot and read its snapshot
	w.exec(`SELECT pg_drop_replication_slot($1)`, w.slot)
	w.commit(event(t, "1", `{"between":true}`))
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
	acquiring.Pass()
	w.awaitBody(`{"between":true}`)
}

// The snapshot of a new slot then begins behind its own end, and Postgres does not parse such a
// pg_snapshot.
func TestSlotIsCreatedDuringRollbacks(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders")
	begin := func() (tx pgx.Tx, xid string) {
		tx, err := w.pool.Begin(t.Context())
		w.must(err)
		w.must(tx.QueryRow(t.Context(), `SELECT pg_current_xact_id()::text`).Scan(&xid))
		return tx, xid
	}
	running, xid := begin()
	p := w.start()
	streams := func() bool { return strings.Contains(p.log.String(), "event=streaming") }
	for !streams() {
		w.eventually("the creation of the slot waits for the transaction or has ended", func() bool {
			return streams() || w.query(`SELECT count(*)::text FROM pg_locks
				WHERE NOT granted AND transactionid::text = $1`, xid) == "1"
		})
		next, nextXID := begin()
		w.must(running.Rollback(t.Context()))
		running, xid = next, nextXID
	}
	w.must(running.Rollback(t.Context()))
	if strings.Contains(p.log.String(), "event=session_ended") {
		t.Error("the creation of the slot needed a second attempt")
	}
}

func TestEventsOfTwoTablesWithTheSameIDAreBothParked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	for _, table := range []string{"first", "second"} {
		w.exec(`CREATE TABLE ` + table +
			` (id text, seq bigint GENERATED ALWAYS AS IDENTITY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
			kind text, body text)`)
		w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE ` + table)
	}
	for _, table := range []string{"first", "second"} {
		w.slot += table
		w.startStreaming("RELAY_SLOT="+w.slot, "RELAY_TABLE=public."+table, "RELAY_COLUMN_EVENT_TYPE=kind",
			"RELAY_COLUMN_PAYLOAD=body",
			"RELAY_COLUMN_AGGREGATE_TYPE=", "RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_HEADERS=",
			"RELAY_COLUMN_CREATED_AT=")
		w.exec(`INSERT INTO ` + table + ` (id, kind, body) VALUES ('1', NULL, '{}'), ('2', 'k', '` + table + `')`)
		w.awaitBody(table)
	}
	w.eventually("both tables' events are parked", func() bool {
		return w.query(`SELECT string_agg(outbox_table || '/' || event_id, ',' ORDER BY position)
			FROM outbox_dead_letters`) == "public.first/1,public.second/1"
	})
}

func TestFilteredRowsArriveOncePublicationIsRepaired(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"row filter": {
			`ALTER PUBLICATION outbox_pub SET TABLE outbox_events WHERE (event_type = 'nothing')`,
			`ALTER PUBLICATION outbox_pub SET TABLE outbox_events`,
		},
		"partitions under their own names": {
			`ALTER PUBLICATION outbox_pub SET (publish_via_partition_root = false)`,
			`ALTER PUBLICATION outbox_pub SET (publish_via_partition_root = true)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			w.exec(`DROP TABLE outbox_events`)
			w.exec(`CREATE TABLE outbox_events (id uuid, seq bigserial NOT NULL, aggregate_type text,
				aggregate_id text, event_type text, payload json,
				headers jsonb, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), created_at timestamptz DEFAULT now())
				PARTITION BY RANGE (seq)`)
			w.exec(`CREATE TABLE outbox_events_1 PARTITION OF outbox_events FOR VALUES FROM (1) TO (1000)`)
			w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
			p := w.startStreaming()
			w.exec(change[0])
			p.awaitLog("does not stream every row")
			w.exec(`INSERT INTO outbox_events (id, event_type, payload)
				VALUES (gen_random_uuid(), 't', '{"unseen":true}')`)
			w.exec(change[1])
			w.awaitBody(`{"unseen":true}`)
		})
	}
}

func TestEventsDuringFirstSlotCreationArrive(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders")
	w.commit(event(t, "1", `{"old":true}`))
	open, err := w.pool.Begin(t.Context()) // holds up the slot
	w.must(err)
	_, err = open.Exec(t.Context(), `SELECT pg_current_xact_id()`)
	w.must(err)
	p := w.start("RELAY_START=now")
	w.eventually("the relay has begun", func() bool {
		return w.query(`SELECT slot_name FROM relay_checkpoints WHERE slot_name = $1`, w.slot) != ""
	})
	w.commit(event(t, "1", `{"new":true}`))
	w.must(open.Rollback(t.Context()))
	p.awaitLog("event=streaming")
	w.commit(event(t, "1", `{"newer":true}`))
	w.awaitBody(`{"newer":true}`)
	if got := w.bodies(); got[`{"new":true}`] != 1 || got[`{"old":true}`] != 0 {
		t.Errorf("received %v", got)
	}
}

func TestFailingSessionsBackOff(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming()
	// An operator may undo this at any time.
	w.exec(`ALTER TABLE relay_checkpoints RENAME TO elsewhere`)
	w.commit(event(t, "o", `{}`))
	p.awaitLog("event=session_ended")
	time.Sleep(10 * time.Second)
	if sessions := strings.Count(p.log.String(), "event=session_ended"); sessions > 10 {
		t.Errorf("%d sessions in 10 seconds", sessions)
	}
}

func TestOtherEventsFlowWhileParkingIsBlocked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	// The lease of the session expires meanwhile, unless it is renewed. A stall of the machine is
	// shorter.
	p := w.startStreaming("RELAY_WAL_SENDER_TIMEOUT=16s")
	locked, err := w.pool.Begin(t.Context())
	w.must(err)
	_, err = locked.Exec(t.Context(), `LOCK TABLE outbox_dead_letters IN SHARE ROW EXCLUSIVE MODE`)
	w.must(err)
	for range 3 {
		w.commit(event(t, "poisoned", `{"padding":"`+strings.Repeat("x", 1<<20-20)+`"}`))
	}
	for end := time.Now().Add(16 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		fine := fmt.Sprintf(`{"at":%d}`, time.Now().UnixNano())
		w.commit(event(t, "fine", fine))
		w.awaitBody(fine)
	}
	w.must(locked.Rollback(t.Context()))
	w.eventually("all three are parked", func() bool {
		return w.query(`SELECT count(*)::text FROM outbox_dead_letters`) == "3"
	})
	if strings.Contains(p.log.String(), "event=session_ended") {
		t.Error("the session ended")
	}
}

func TestStandbyTakesOverAfterANetworkCut(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	holder := w.startStreaming()
	between, through := w.newNetwork()
	standby := w.start("DATABASE_URL="+through, "RELAY_WAL_SENDER_TIMEOUT=2s")
	standby.awaitLog("event=standby")
	time.Sleep(time.Second) // the standby has checked the slot by then
	between.Forget()
	holder.kill()
	standby.awaitLog("event=streaming")
}

// A platform kills a process that does not stop in time. Orderly closes over a network that is cut
// take a quarter of a minute.
func TestRelayStopsSoonAfterANetworkCut(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	between, through := w.newNetwork()
	p := w.startStreaming("DATABASE_URL="+through, "RELAY_WAL_SENDER_TIMEOUT=2s")
	between.Forget()
	p.awaitLog("event=session_ended")
	asked := time.Now()
	p.stop()
	if took := time.Since(asked); took > 13*time.Second {
		t.Errorf("the relay took %s to stop", took)
	}
}

func TestGroupStaysBlockedUnderURLAndARN(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming()
	w.commit(event(t, "poisoned", `{"padding":"`+strings.Repeat("x", 1<<20-20)+`"}`))
	w.eventually("the event is parked", func() bool {
		return w.query(`SELECT count(*)::text FROM outbox_dead_letters`) == "1"
	})
	p.stop()
	w.startStreaming("RELAY_DESTINATION=" + w.queue.ARN)
	w.commit(event(t, "poisoned", `{"behind":1}`), event(t, "fine", `{"fine":1}`))
	w.awaitBody(`{"fine":1}`)
	w.eventually("the event behind waits", func() bool {
		return w.query(`SELECT aggregate_id FROM outbox_deferrals WHERE state = 'deferred'`) == "poisoned"
	})
	if letters := w.query(`SELECT count(*)::text FROM outbox_dead_letters`); letters != "1" {
		t.Errorf("%s dead letters, want 1", letters)
	}
}
