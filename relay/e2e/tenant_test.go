package e2e_test

import (
	"slices"
	"strings"
	"testing"
)

// tenants returns the MessageGroupId of each message by its body.
func (w *testEnv) tenants() map[string]string {
	all := map[string]string{}
	for _, r := range w.broker.Received(w.queue.ARN) {
		all[r.Body] = r.GroupID
	}
	return all
}

// TestTheTenantComesFromItsColumn: out of the log, the table and a replay. The first event was
// written before the table had the column, and is in the log alone.
func TestTheTenantComesFromItsColumn(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE TABLE ev (id bigserial PRIMARY KEY, event_type text DEFAULT 'made', payload text,
		xid xid8 NOT NULL DEFAULT pg_current_xact_id())`)
	w.exec(`CREATE INDEX ON ev (xid)`)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE ev`)
	env := append(slices.Clone(ownColumns), "RELAY_COLUMN_SEQUENCE=id", "RELAY_START=table")
	w.startStreaming(env...).stop()
	w.exec(`INSERT INTO ev (payload) VALUES ('before')`)
	w.exec(`ALTER TABLE ev ADD COLUMN tenant text`)
	w.exec(`INSERT INTO ev (payload, tenant) VALUES ('log', 'acme 1'), ('none', NULL)`)
	tenant := append(slices.Clone(env), "RELAY_TENANT=column:tenant")
	output, err := w.command(tenant, "check")
	if err != nil || !strings.Contains(output, "RELAY_TENANT column:tenant)") {
		t.Errorf("%v: %s", err, output)
	}
	p := w.startStreaming(tenant...)
	for _, body := range []string{"before", "log", "none"} {
		w.awaitBody(body)
	}
	p.stop()
	w.dropSlot()
	w.exec(`INSERT INTO ev (payload, tenant) VALUES ('table', 'globex')`)
	p = w.startStreaming(tenant...)
	w.awaitBody("table")
	want := map[string]string{"before": "", "log": "acme%201", "none": "", "table": "globex"}
	for body, tenant := range w.tenants() {
		if tenant != want[body] {
			t.Errorf("the tenant of %s is %q, want %q", body, tenant, want[body])
		}
	}
	w.awaitDeliveredOf("ev", "xid")
	if output, err := w.command(env, "replay", "--event-id", "2", "--yes"); err != nil {
		t.Fatalf("relay replay: %v: %s", err, output)
	}
	if got := w.replayed(); len(got) != 1 || got[0].Body != "log" || got[0].GroupID != "acme%201" {
		t.Errorf("replayed %+v", got)
	}
	w.exec(`ALTER TABLE ev RENAME tenant TO customer`)
	w.exec(`INSERT INTO ev (payload, customer) VALUES ('renamed', 'acme')`)
	if err := p.wait(); err == nil {
		t.Fatal("the relay ended without an error")
	}
	const setting = "RELAY_TENANT=column:tenant,customer"
	if !strings.Contains(p.log.String(), setting) {
		t.Fatal("the relay does not name the setting that reads on")
	}
	w.startStreaming(append(slices.Clone(env), setting)...)
	w.awaitBody("renamed")
	if got := w.tenants()["renamed"]; got != "acme" {
		t.Errorf("the tenant of the renamed column is %q", got)
	}
}
