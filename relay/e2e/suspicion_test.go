package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const (
	comparing = "event=suspicion_opened"
	dropTable = `BEGIN; ALTER PUBLICATION outbox_pub DROP TABLE outbox_events; COMMIT; `
	addTable  = `; BEGIN; ALTER PUBLICATION outbox_pub ADD TABLE outbox_events; COMMIT`
	unseen    = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'o', '1', 't', '{"unseen":true}')`
)

// startCompared starts a relay that has delivered an event. Its horizon is recent enough for a
// comparison of rows.
func (w *testEnv) startCompared(env ...string) *process {
	w.t.Helper()
	p := w.startStreaming(env...)
	p.awaitLog("event=audit_begun")
	w.commit(event(w.t, "1", `{"n":0}`))
	w.awaitBody(`{"n":0}`)
	w.awaitHorizon()
	return p
}

// Tools for schema migrations write the publication again at each deployment.
func TestARestatedPublicationIsNoGap(t *testing.T) {
	t.Parallel()
	for name, restate := range map[string]string{
		"setting": `ALTER PUBLICATION outbox_pub SET (publish = 'insert')`,
		"table": `BEGIN; ALTER PUBLICATION outbox_pub DROP TABLE outbox_events;
			ALTER PUBLICATION outbox_pub ADD TABLE outbox_events; COMMIT`,
		"other tables": `CREATE TABLE other (id int); ALTER PUBLICATION outbox_pub SET TABLE outbox_events, other`,
		"publication": `BEGIN; DROP PUBLICATION outbox_pub; CREATE PUBLICATION outbox_pub FOR TABLE outbox_events
			WITH (publish = 'insert', publish_via_partition_root = true); COMMIT`,
		"a moment without the table": dropTable + addTable,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			p := w.startCompared("RELAY_ON_SLOT_LOSS=halt")
			w.commit(event(t, "1", `{"n":1}`))
			w.exec(restate)
			// The outbox table remains, so no catalog row that concerns it is written.
			if name != "other tables" {
				p.awaitLog("event=suspicion_ended")
			}
			w.commit(event(t, "1", `{"n":2}`))
			w.awaitEach(3)
			if got := w.bodies(); len(got) != 3 || got[`{"n":0}`]+got[`{"n":1}`]+got[`{"n":2}`] != 3 {
				t.Errorf("received %v", got)
			}
			if strings.Contains(p.log.String(), "event=gap") {
				t.Error("the relay reports a gap")
			}
		})
	}
}

// The observations before and after that moment show the same publication.
func TestAMomentWithoutTheTableLosesNoRow(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"a row": dropTable + unseen + addTable,
		"a row in place of a deleted one": dropTable + unseen + `; DELETE FROM outbox_events
			WHERE payload::text = '{"n":1}'` + addTable,
		"twice": dropTable + addTable + `; ` + dropTable + unseen + addTable,
		"a sequence that begins again": dropTable + `; TRUNCATE outbox_events RESTART IDENTITY;
			` + unseen + addTable,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			w.startCompared()
			w.commit(event(t, "1", `{"n":1}`))
			w.awaitBody(`{"n":1}`)
			w.exec(change)
			w.awaitBody(`{"unseen":true}`)
		})
	}
}

// The transaction began before the table was dropped from the publication, and commits after the
// relay observed the change.
func TestComparisonWaitsForOpenTransactions(t *testing.T) {
	t.Parallel()
	onStaleToo(t, checkOpenTransactionIsWaitedFor)
}

func checkOpenTransactionIsWaitedFor(t *testing.T, server *pgtest.Server) {
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
	p := w.startStreaming()
	p.awaitLog("event=audit_begun")
	open, err := w.pool.Begin(t.Context())
	w.must(err)
	defer open.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	insert := func(n int) { w.must(outbox.Insert(t.Context(), open, event(t, "open", fmt.Sprintf(`{"n":%d}`, n)))) }
	insert(1)
	w.commit(event(t, "1", `{"n":0}`))
	w.awaitBody(`{"n":0}`)
	w.eventually("a horizon covers what is delivered", func() bool {
		return w.query(`SELECT pg_visible_in_snapshot(xid, horizon)::text
			FROM outbox_events, relay_checkpoints`) == "true"
	})
	w.exec(dropTable + `SELECT` + addTable)
	insert(2)
	p.awaitLog(comparing)
	for n := 3; n < 6; n++ { // each brings a horizon that does not show the transaction
		w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, n)))
		w.awaitBody(fmt.Sprintf(`{"n":%d}`, n))
		w.awaitCheckpoint()
	}
	if strings.Contains(p.log.String(), "event=suspicion_ended") {
		t.Error("the relay did not wait for the transaction")
	}
	w.must(open.Commit(t.Context()))
	w.awaitEach(6)
	w.commit(event(t, "1", `{"n":6}`))
	w.awaitEach(7)
}

// Rows that are deleted at once leave no trace outside the log.
func TestATableThatKeepsNoRowsProvesNothing(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startCompared("RELAY_ON_SLOT_LOSS=halt")
	w.exec(`DELETE FROM outbox_events`)
	w.exec(dropTable + unseen + `; DELETE FROM outbox_events` + addTable)
	if err := p.wait(); err == nil || !strings.Contains(p.log.String(), "the publication was changed") {
		t.Errorf("the relay ended with %v", err)
	}
}
