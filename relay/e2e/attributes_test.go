package e2e_test

import (
	"slices"
	"strings"
	"testing"
)

// TestColumnsBecomeAttributes: the events come from the table and from the log.
func TestColumnsBecomeAttributes(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE TABLE ev (id bigserial PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), kind text,
		"Tenant" text, shop integer, meta text[], body xml)`)
	w.exec(`CREATE INDEX ON ev (xid)`)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE ev`)
	const insert = `INSERT INTO ev (kind, "Tenant", shop, meta, body) VALUES ('made', 'acme', $1,
		ARRAY['a', 'x "y"', 'b', NULL], '<order/>')`
	env := []string{
		"RELAY_TABLE=ev", "RELAY_COLUMN_SEQUENCE=id", "RELAY_COLUMN_EVENT_TYPE=kind", "RELAY_COLUMN_PAYLOAD=body",
		"RELAY_COLUMN_AGGREGATE_TYPE=", "RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_CREATED_AT=",
		"RELAY_COLUMN_HEADERS=meta", `RELAY_ATTRIBUTE_COLUMNS=tenantId="Tenant",shop`,
		"RELAY_ATTRIBUTE_NAMES=event_id=id,event_type=eventType,sequence=none", "RELAY_START=table",
	}
	w.exec(insert, 1)
	w.startStreaming(env...)
	w.exec(insert, 2)
	var got []string
	for _, m := range w.awaitReceived(2) {
		var attributes []string
		for _, a := range m.Attributes {
			attributes = append(attributes, a.Name+"="+a.StringValue)
		}
		slices.Sort(attributes)
		got = append(got, m.Body+" "+strings.Join(attributes, " "))
	}
	slices.Sort(got)
	want := []string{
		`<order/> a=x "y" eventType=made id=1 shop=1 tenantId=acme`,
		`<order/> a=x "y" eventType=made id=2 shop=2 tenantId=acme`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("received\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAnEventWithoutAPayloadBlocksNoAggregate: consumers take it for the deletion of the aggregate.
func TestAnEventWithoutAPayloadBlocksNoAggregate(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.exec(`ALTER TABLE outbox_events ALTER payload DROP NOT NULL`)
	const insert = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'order', '1', 'made', $1)`
	w.startStreaming()
	w.exec(insert, `{"n":1}`)
	w.exec(insert, nil)
	w.exec(insert, `{"n":2}`)
	got := w.awaitReceived(3)
	if got[1].Body != "null" || attribute(got[1].Attributes, "payload_encoding") != "null" ||
		attribute(got[0].Attributes, "payload_encoding") != "" || got[2].Body != `{"n":2}` {
		t.Errorf("received %+v", got)
	}
}

// TestBytesAreDeliveredInBase64: the events come from the table, from the log, and from a recovery.
func TestBytesAreDeliveredInBase64(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE DOMAIN wire AS bytea`)
	w.exec(`ALTER TABLE outbox_events ALTER payload TYPE wire USING convert_to(payload::text, 'UTF8')`)
	const insert = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'order', '1', 'made', $1)`
	env := []string{"RELAY_PAYLOAD_BYTES=base64", "RELAY_START=table"}
	w.exec(insert, []byte("table\x00\xff"))
	if output, err := w.command(env[1:], "check"); err == nil ||
		!strings.Contains(output, "RELAY_PAYLOAD_BYTES=base64") {
		t.Errorf("%v: %s", err, output)
	}
	p := w.startStreaming(env...)
	w.exec(insert, []byte("log\x00\xff"))
	w.exec(insert, []byte{})
	w.awaitReceived(3)
	p.stop()
	w.dropSlot()
	w.exec(insert, []byte("recovery"))
	w.startStreaming(env...)
	got := map[string]string{}
	for _, m := range w.awaitReceived(4) {
		got[m.Body] = attribute(m.Attributes, "payload_encoding")
	}
	for body, encoding := range map[string]string{
		"dGFibGUA/w==": "base64", "bG9nAP8=": "base64", "cmVjb3Zlcnk=": "base64", "null": "null",
	} {
		if got[body] != encoding {
			t.Errorf("received %v, want %s as %s", got, body, encoding)
		}
	}
}
