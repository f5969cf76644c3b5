package e2e_test

import (
	"strings"
	"testing"
)

func TestRefusedEventParksOnlyItsAggregate(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming(parksFollowers)
	// with its attributes it exceeds 1 MiB
	huge := event(t, "poisoned", `{"padding":"`+strings.Repeat("x", 1<<20-20)+`"}`)
	w.commit(huge)
	w.commit(event(t, "poisoned", `{"behind":1}`), event(t, "fine", `{"fine":1}`))
	w.awaitBody(`{"fine":1}`)
	parked := func() string {
		return w.query(`SELECT string_agg(code, ',' ORDER BY position) FROM outbox_dead_letters`)
	}
	w.eventually("both events are parked", func() bool { return parked() == "InvalidParameterValue,BlockedGroup" })
	p.stop()
	w.startStreaming(parksFollowers)
	w.commit(event(t, "poisoned", `{"behind":2}`), event(t, "fine", `{"fine":2}`))
	w.awaitBody(`{"fine":2}`)
	w.eventually("the group is blocked after a restart", func() bool {
		return parked() == "InvalidParameterValue,BlockedGroup,BlockedGroup"
	})
	if got := w.bodies(); len(got) != 2 {
		t.Errorf("received %v", got)
	}
	if reason := w.query(`SELECT reason FROM outbox_dead_letters WHERE event_id = $1`,
		huge.ID.String()); !strings.Contains(reason, "1048576") {
		t.Errorf("the reason does not name the limit: %q", reason)
	}
}

func TestEventWithoutAnIDIsParked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE TABLE events (id text, seq bigint GENERATED ALWAYS AS IDENTITY,
		xid xid8 NOT NULL DEFAULT pg_current_xact_id(), kind text, body text)`)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE events`)
	w.startStreaming("RELAY_TABLE=public.events", "RELAY_COLUMN_EVENT_TYPE=kind", "RELAY_COLUMN_PAYLOAD=body",
		"RELAY_COLUMN_AGGREGATE_TYPE=",
		"RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_HEADERS=", "RELAY_COLUMN_CREATED_AT=")
	w.exec(`INSERT INTO events (id, kind, body)
		VALUES (NULL, 'k', 'no id'), ('7', 'k', 'plain text'), ('8', 'k', NULL)`)
	w.awaitBody("plain text")
	w.awaitBody("null")
	w.eventually("the event without an id is parked", func() bool {
		return w.query(`SELECT string_agg(event_id, ',' ORDER BY event_id) FROM outbox_dead_letters`) == "seq:1"
	})
}

func TestRowLargerThanAnyMessageIsParkedByItsID(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`ALTER TABLE outbox_events DROP CONSTRAINT outbox_events_payload_check`)
	p := w.startStreaming("RELAY_WINDOW_BYTES=2097152")
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES ('00000000-0000-0000-0000-00000000000a', 'o', '1', 't', to_json(repeat('x', 30000000)))`)
	w.commit(event(t, "2", `{"small":true}`))
	w.awaitBody(`{"small":true}`)
	w.eventually("the large one is parked", func() bool {
		return w.query(`SELECT (event_id = '00000000-0000-0000-0000-00000000000a'
			AND octet_length(event::text) < 2000)::text
			FROM outbox_dead_letters`) == "true"
	})
	p.stop()
}
