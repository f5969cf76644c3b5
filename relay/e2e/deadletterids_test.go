package e2e_test

import (
	"strings"
	"testing"
)

// sharedID creates an outbox table whose ids are not unique, and returns the settings of its relay.
func (w *testEnv) sharedID() []string {
	w.t.Helper()
	w.exec(`CREATE TABLE events (id text, seq bigint GENERATED ALWAYS AS IDENTITY,
		xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
		kind text, body text, created_at timestamptz DEFAULT now())`)
	w.exec(`CREATE UNIQUE INDEX ON events (seq); CREATE INDEX ON events (xid)`)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE events`)
	return []string{
		"RELAY_TABLE=public.events", "RELAY_COLUMN_EVENT_TYPE=kind", "RELAY_COLUMN_PAYLOAD=body",
		"RELAY_COLUMN_AGGREGATE_TYPE=",
		"RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_HEADERS=", "RELAY_ID_UNIQUE=assert",
	}
}

// listed returns the dead letters of an event in the form of `relay dead-letters list`.
func (w *testEnv) listed(eventID string) string {
	w.t.Helper()
	out, err := w.command(nil, "dead-letters", "list", "--event-id", eventID)
	w.must(err)
	return out
}

func TestEventsSharingAnIDAreAllParked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	env := w.sharedID()
	w.startStreaming(env...)
	w.exec(`INSERT INTO events (id, kind, body)
		VALUES ('A', 'k', E'first\x01'), ('A', 'k', E'second\x01'), ('A', 'k', E'first\x01')`)
	w.eventually("all three are parked", func() bool { return w.deadLetters() == "parked,parked,parked" })
	if out := w.listed("A"); !strings.Contains(out, "3 dead letters") {
		t.Errorf("list: %s", out)
	}
	if bodies := w.query(`SELECT string_agg(event->>'body', ',' ORDER BY position)
		FROM outbox_dead_letters`); bodies != "first\x01,second\x01,first\x01" {
		t.Errorf("parked %q", bodies)
	}
}

// A table that is truncated or replaced numbers its rows from 1 again.
func TestRowWithAReusedSeqIsParkedToo(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming(w.sharedID()...)
	for _, want := range []string{"parked", "parked,parked"} {
		w.exec(`TRUNCATE events RESTART IDENTITY`)
		w.exec(`INSERT INTO events (id, kind, body) VALUES ('A', NULL, '{}')`)
		w.eventually("the row is parked", func() bool { return w.deadLetters() == want })
	}
}

// An entry of a btree index holds 2,704 bytes.
func TestEventIDTooLongForAnIndexIsParked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming(w.sharedID()...)
	w.exec(`INSERT INTO events (id, kind, body) SELECT string_agg(md5(i::text), ''), NULL, '{}'
		FROM generate_series(1, 500) AS i`)
	w.eventually("the event is parked", func() bool { return w.deadLetters() == "parked" })
	if length := w.query(`SELECT length(row_event_id)::text FROM outbox_dead_letters`); length != "16000" {
		t.Errorf("the stored id has %s bytes", length)
	}
}

// The other row of the same id may be decided about long before.
func TestParkedRowStaysWhenItsTwinIsRemoved(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming(append(w.sharedID(), "RELAY_RETENTION=1s")...)
	w.exec(`INSERT INTO events (id, kind, body, created_at)
		VALUES ('A', NULL, '{}', '2001-01-01'), ('A', NULL, '{}', '2001-01-01')`)
	w.eventually("both are parked", func() bool { return w.deadLetters() == "parked,parked" })
	if out, err := w.command(nil, "dead-letters", "discard", "1"); err != nil {
		t.Fatalf("discard: %v: %s", err, out)
	}
	w.eventually("one of the rows is removed", func() bool {
		return w.query(`SELECT count(*)::text FROM events`) == "1"
	})
	if seq := w.query(`SELECT seq::text FROM events`); seq != "2" {
		t.Errorf("the row with seq %s is left, want 2", seq)
	}
}
