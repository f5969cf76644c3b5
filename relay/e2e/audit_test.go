package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// alarm is in the log line of a relay that finds events in the table which the stream did not
// bring.
const alarm = "event=events_missing"

// partition replaces the outbox table by a partitioned one.
func (w *testEnv) partition() {
	w.t.Helper()
	w.exec(`DROP TABLE outbox_events`)
	w.exec(`CREATE TABLE outbox_events (id uuid, seq bigserial NOT NULL, aggregate_type text, aggregate_id text,
		event_type text, payload json,
		headers jsonb, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), created_at timestamptz DEFAULT now())
		PARTITION BY RANGE (seq)`)
	w.exec(`CREATE INDEX ON outbox_events (xid)`)
	w.exec(`CREATE TABLE outbox_events_1 PARTITION OF outbox_events FOR VALUES FROM (1) TO (1000)`)
	w.exec(`CREATE TABLE outbox_events_2 (LIKE outbox_events INCLUDING ALL)`)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
}

// attach fills another partition and attaches it. Its rows are in the table, and the publication
// has never streamed them.
func (w *testEnv) attach(payload string) {
	w.t.Helper()
	w.must(pgx.BeginFunc(w.t.Context(), w.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(w.t.Context(), `
			INSERT INTO outbox_events_2 (id, seq, event_type, payload)
			VALUES (gen_random_uuid(), 1000, 't', '`+payload+`');
			ALTER TABLE outbox_events ATTACH PARTITION outbox_events_2 FOR VALUES FROM (1000) TO (2000)`)
		return err
	}))
}

// awaitObservation waits until the Checkpointer has read the fence and the horizon again.
func (w *testEnv) awaitObservation() {
	w.t.Helper()
	latest := func() string {
		return w.query(`SELECT coalesce(max(query_start)::text, '') FROM pg_stat_activity
			WHERE application_name = 'outbox-relay'
			AND query LIKE '%pg_current_snapshot()%pg_current_wal_insert_lsn()%'`)
	}
	before := latest()
	w.eventually("the Checkpointer reads the fence and the horizon again", func() bool { return latest() > before })
}

// The audit finds such rows even while nothing is delivered and hardly anything is written.
func TestRowsAbsentFromTheLogArrive(t *testing.T) {
	t.Parallel()
	server := newServerWith(t, map[string]string{"full_page_writes": "off", "autovacuum": "off"})
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
	w.partition()
	listen := freeAddress(t)
	p := w.startStreaming("RELAY_LISTEN=" + listen)
	p.awaitLog("event=audit_begun")
	w.commit(event(t, "1", `{"streamed":true}`))
	w.awaitHorizon()
	w.awaitObservation() // the next horizon covers no more than the row's
	w.awaitObservation()
	w.attach(`{"attached":true}`)
	w.awaitBody(`{"attached":true}`)
	w.commit(event(t, "1", `{"after":true}`))
	w.awaitBody(`{"after":true}`)
	w.awaitHorizon()
	if times := strings.Count(p.log.String(), alarm); times != 1 {
		t.Errorf("the relay logged the alarm %d times, want once", times)
	}
	if got := w.bodies(); got[`{"streamed":true}`] != 1 || got[`{"after":true}`] != 1 {
		t.Errorf("received %v", got)
	}
	_, metrics := w.get("http://" + listen + "/metrics")
	for _, want := range []string{"relay_audit_missing_events_total 1\n", "relay_slot_gaps_total 0\n"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}

// lose writes a row that the log does not have: its partition is unlogged.
func (w *testEnv) lose(payload string) {
	w.t.Helper()
	w.exec(`CREATE UNLOGGED TABLE unlogged PARTITION OF outbox_events FOR VALUES FROM (5000) TO (6000)`)
	w.eventually("the partition is known", func() bool {
		return w.query(`SELECT accounted::text FROM relay_members WHERE relation = 'unlogged'::regclass`) == "true"
	})
	w.exec(`INSERT INTO outbox_events (id, seq, event_type, payload)
		VALUES (gen_random_uuid(), 5000, 't', $1)`, payload)
}

func TestAuditFindsUnloggedRows(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.partition()
	listen := freeAddress(t)
	p := w.startStreaming("RELAY_LISTEN=" + listen)
	p.awaitLog("event=audit_begun")
	w.lose(`{"unlogged":true}`)
	w.awaitBody(`{"unlogged":true}`)
	p.awaitLog(alarm)
	_, metrics := w.get("http://" + listen + "/metrics")
	for _, want := range []string{
		"relay_audit_missing_events_total 1\n", "relay_slot_gaps_total 1\n",
		`relay_sessions_total{reason="events_missing"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}

// The halt also holds while an orchestrator keeps restarting the relay.
func TestMissingEventsHaltUntilTheOperatorDecides(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.partition()
	p := w.startStreaming("RELAY_ON_SLOT_LOSS=halt")
	p.awaitLog("event=audit_begun")
	w.attach(`{"attached":true}`)
	if err := p.wait(); err == nil || !strings.Contains(p.log.String(), alarm) {
		t.Fatalf("the relay ended with %v", err)
	}
	output, err := w.command([]string{"RELAY_ON_SLOT_LOSS=halt"}, "run")
	if err == nil || !strings.Contains(output, "the audit found events") ||
		!strings.Contains(output, "Run relay recover") {
		t.Errorf("the next start: %v: %s", err, output)
	}
	if got := w.bodies(); len(got) != 0 {
		t.Errorf("received %v", got)
	}
	w.start()
	w.awaitBody(`{"attached":true}`)
}

const (
	insertColumns = `INSERT INTO outbox_events (id, event_type, payload`
	insertEmpty   = insertColumns + `) VALUES (gen_random_uuid(), 't', '{}')`
)

// writesOfEveryKind returns transactions that commit, roll back, use savepoints or are prepared.
func writesOfEveryKind(prepared string) []string {
	return []string{
		`BEGIN; ` + insertColumns + `) VALUES (gen_random_uuid(), 't', '{"n":0}'); SAVEPOINT a; ` + insertEmpty + `;
			ROLLBACK TO a; SAVEPOINT b; ` + insertEmpty + `; RELEASE b; COMMIT`,
		`BEGIN; ` + insertEmpty + `; ROLLBACK`,
		`BEGIN; ` + insertEmpty + `; DELETE FROM outbox_events; COMMIT`,
		`BEGIN; ` + insertEmpty + `; PREPARE TRANSACTION 'p` + prepared + `'`,
		insertColumns + `, xid) VALUES (gen_random_uuid(), 't', '{}', '7')`,
		`UPDATE outbox_events SET payload = '{"changed":true}'`,
	}
}

// The test ends with a real gap, which shows that the audit ran all the time.
func TestAuditAcceptsEveryKindOfWrite(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders")
	w.partition()
	var relays []*process
	run := func() *process {
		p := w.startStreaming()
		p.awaitLog("event=audit_begun")
		relays = append(relays, p)
		return p
	}
	p := run()
	long, err := w.pool.Begin(t.Context()) // stays open over many horizons and two sessions
	w.must(err)
	defer long.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	w.must(outbox.Insert(t.Context(), long, event(t, "long", `{"long":1}`)))
	for i, sql := range writesOfEveryKind(w.slot) {
		w.exec(sql)
		body := fmt.Sprintf(`{"step":%d}`, i)
		w.commit(event(t, "step", body))
		w.awaitBody(body)
		w.awaitHorizon()
	}
	w.exec(`COMMIT PREPARED 'p` + w.slot + `'`)
	w.awaitHorizon()
	w.exec(insertColumns +
		`) SELECT gen_random_uuid(), 't', format('{"big":%s}', i)::json FROM generate_series(1, 300) AS i`)
	w.awaitBody(`{"big":7}`)
	p.kill() // within the transaction or soon after it
	p = run()
	w.must(outbox.Insert(t.Context(), long, event(t, "long", `{"long":2}`)))
	w.must(long.Commit(t.Context()))
	w.awaitBody(`{"long":2}`)
	w.awaitHorizon()
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
	w.exec(insertColumns + `) VALUES (gen_random_uuid(), 't', '{"unseen":true}')`)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	w.awaitBody(`{"unseen":true}`)
	w.awaitHorizon()
	p.kill()
	w.dropSlot()
	w.exec(insertColumns + `) VALUES (gen_random_uuid(), 't', '{"slotless":true}')`)
	p = run()
	w.awaitBody(`{"slotless":true}`)
	w.awaitHorizon()
	for _, r := range relays {
		if strings.Contains(r.log.String(), alarm) {
			t.Errorf("relay %d logged the alarm", r.cmd.Process.Pid)
		}
	}
	w.lose(`{"unlogged":true}`)
	w.awaitBody(`{"unlogged":true}`)
	p.awaitLog(alarm)
}

func TestOnlyTheHorizonWaitsForTheAudit(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	between, through := w.newNetwork()
	counting := between.HoldBack("$1::text::xid8")
	// The lease of the session expires before the audit may continue, unless it is renewed. A
	// stall of the machine is shorter.
	p := w.startStreaming("DATABASE_URL="+through, "RELAY_WAL_SENDER_TIMEOUT=16s")
	p.awaitLog("event=audit_begun")
	horizon := func() string {
		return w.query(`SELECT horizon::text FROM relay_checkpoints WHERE slot_name = $1`, w.slot)
	}
	w.commit(event(t, "1", `{}`))
	w.await(counting)
	before := horizon()
	for i, began := 0, time.Now(); i < 5 || time.Since(began) < 16*time.Second; i++ {
		body := fmt.Sprintf(`{"n":%d}`, i)
		w.commit(event(t, "1", body))
		w.awaitBody(body)
		w.awaitCheckpoint()
	}
	if after := horizon(); after != before {
		t.Errorf("the horizon went from %s to %s before the audit had counted", before, after)
	}
	counting.Pass()
	w.awaitHorizon()
	if strings.Contains(p.log.String(), "event=session_ended") {
		t.Error("the session ended while the audit waited")
	}
}

func TestDisabledAuditDelaysNothing(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]struct{ sql, env, says string }{
		"by the setting": {`SELECT`, "RELAY_AUDIT=off", "event=streaming"},
		"without an index": {
			`DROP INDEX outbox_events_xid_idx`, "RELAY_AUDIT=on",
			"the audit is off: it needs an index on xid",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			w.exec(off.sql)
			p := w.startStreaming(off.env)
			p.awaitLog(off.says)
			w.commit(event(t, "1", `{}`))
			w.awaitReceived(1)
			w.awaitHorizon()
			if strings.Contains(p.log.String(), "event=audit_begun") {
				t.Error("the audit has begun")
			}
		})
	}
}
