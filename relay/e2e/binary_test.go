package e2e_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// newTextEnv returns an environment with a custom outbox table. All of its columns are text, so
// that a test can change their types.
func newTextEnv(t *testing.T) (w *testEnv, env []string) {
	t.Helper()
	w = newTestEnv(t, "orders")
	w.exec(`CREATE TABLE ev (id text PRIMARY KEY DEFAULT gen_random_uuid()::text, aggregate_type text,
		aggregate_id text, event_type text,
		payload text, seq bigint GENERATED ALWAYS AS IDENTITY, xid xid8 NOT NULL DEFAULT pg_current_xact_id())`)
	w.exec(`CREATE UNIQUE INDEX ON ev (seq); CREATE INDEX ON ev (xid); ALTER PUBLICATION outbox_pub SET TABLE ev`)
	w.exec(`CREATE DOMAIN bytes AS bytea; CREATE DOMAIN bytes_of_bytes AS bytes`)
	return w, []string{"RELAY_TABLE=public.ev", "RELAY_COLUMN_HEADERS=", "RELAY_COLUMN_CREATED_AT="}
}

const insertText = `INSERT INTO ev (aggregate_type, aggregate_id, event_type, payload)
	VALUES ('order', $1, 'order.created', $2)`

func (w *testEnv) checkNoByteaText() {
	w.t.Helper()
	for _, r := range w.broker.Received(w.queue.ARN) {
		for _, text := range append([]string{r.Body, r.GroupID}, attribute(r.Attributes, "aggregate_id")) {
			if strings.Contains(text, `\x`) {
				w.t.Errorf("the text form of a bytea was sent: %q", text)
			}
		}
	}
}

// A text column becomes bytea while the relay runs. The relay refuses it and prints the statement
// that restores text. Events of the time between become dead letters that keep their bytes.
func TestByteaColumnIsNotSentAsText(t *testing.T) {
	t.Parallel()
	const (
		toText = `ALTER TABLE "public"."ev" ALTER COLUMN `
		toUTF8 = toText + `"payload" TYPE text USING pg_catalog.convert_from("payload", 'UTF8')`
	)
	for _, c := range []struct{ column, kind, fix, kept string }{
		{"payload", "bytea", toUTF8, "ä\n"},
		{"payload", "bytes_of_bytes", toUTF8, "ä\n"},
		{
			"aggregate_id", "bytes", toText + `"aggregate_id" TYPE text USING pg_catalog.encode("aggregate_id", 'hex')`,
			"c3a40a",
		},
		{"id", "bytea", toText + `"id" TYPE text USING pg_catalog.encode("id", 'hex')`, "c3a40a"},
	} {
		t.Run(c.column+" "+c.kind, func(t *testing.T) {
			t.Parallel()
			w, env := newTextEnv(t)
			p := w.start(env...)
			p.awaitLog("event=streaming")
			w.exec(insertText, "1", "before")
			w.awaitBody("before")
			w.exec(`ALTER TABLE ev ALTER COLUMN ` + c.column + ` DROP DEFAULT`)
			w.exec(`ALTER TABLE ev ALTER COLUMN ` + c.column + ` TYPE ` + c.kind + ` USING convert_to(` + c.column +
				`, 'UTF8')`)
			values := map[string]string{"id": "'2'", "aggregate_id": "'2'", "payload": "'during'"}
			values[c.column] = `'\xc3a40a'::bytea`
			w.exec(fmt.Sprintf(`INSERT INTO ev (id, aggregate_type, aggregate_id, event_type, payload)
				VALUES (%s, 'order', %s, 'order.created',
				%s)`, values["id"], values["aggregate_id"], values["payload"]))
			if err := p.wait(); err == nil || !strings.Contains(strings.ReplaceAll(p.log.String(), `\"`, `"`), c.fix) {
				t.Fatalf("the relay ends with %v and does not say %s", err, c.fix)
			}
			w.checkRefusal(env, "check", c.fix+";", "column "+c.column, c.kind)
			w.checkRefusal(env, "run", c.fix)

			w.exec(c.fix)
			w.exec(`INSERT INTO ev (id, aggregate_type, aggregate_id, event_type, payload)
				VALUES ('3', 'order', '3', 'order.created', 'after')`)
			w.start(env...)
			w.awaitBody("after")
			w.checkNoByteaText()
			w.eventually("the event written meanwhile is a dead letter", func() bool {
				return w.deadLetters() == "parked"
			})
			letter := w.query(`SELECT concat_ws(' ', code, event_id, event) FROM outbox_dead_letters`)
			if kept := strings.ReplaceAll(c.kept, "\n", `\n`); !strings.HasPrefix(letter, "BinaryValue ") ||
				!strings.Contains(letter, kept) {
				t.Errorf("the dead letter is %s, want BinaryValue and %s", letter, kept)
			}
			if output, err := w.command(env, "dead-letters", "redrive", "--all"); err != nil {
				t.Fatalf("redrive: %v: %s", err, output)
			}
			w.eventually("the event arrives with its bytes", func() bool { return w.deadLetters() == "redriven" })
			w.checkNoByteaText()
			if c.column == "payload" && w.bodies()[c.kept] != 1 {
				t.Errorf("received %v, want %q once", w.bodies(), c.kept)
			}
		})
	}
}

// A redrive keeps the bytes in the dead letter and replaces none of them.
func TestDeadLetterKeepsBytesThatAreNoText(t *testing.T) {
	t.Parallel()
	w, env := newTextEnv(t)
	p := w.start(env...)
	p.awaitLog("event=streaming")
	w.exec(`BEGIN; ALTER TABLE ev ALTER COLUMN payload TYPE bytea USING convert_to(payload, 'UTF8');
		INSERT INTO ev (aggregate_type, aggregate_id, event_type, payload)
		VALUES ('order', '1', 'order.created', '\x00ff');
		ALTER TABLE ev ALTER COLUMN payload TYPE text USING encode(payload, 'hex'); COMMIT`)
	w.eventually("the event is parked", func() bool { return w.deadLetters() == "parked" })
	kept := func() string {
		return w.query(`SELECT encode(decode(event->>'body_base64', 'base64'), 'hex') FROM outbox_dead_letters`)
	}
	if got := kept(); got != hex.EncodeToString([]byte{0, 0xff}) {
		t.Errorf("the dead letter keeps %s", got)
	}
	w.redriveAll(env...)
	w.eventually("the broker's rules refuse it", func() bool {
		return w.query(`SELECT code FROM outbox_dead_letters WHERE state = 'parked'`) == "InvalidMessageContents"
	})
	if got := kept(); got != "00ff" {
		t.Errorf("the dead letter keeps %s after a redrive", got)
	}
	w.exec(insertText, "2", "after")
	w.awaitBody("after")
}

// The log has the name of a type and not its components, so the relay has to look them up.
func TestByteaWithinATypeIsNotSentAsText(t *testing.T) {
	t.Parallel()
	for kind, value := range map[string]string{
		"bytea[]": `ARRAY[convert_to(payload, 'UTF8')]`,
		"pieces":  `ARRAY[convert_to(payload, 'UTF8')]`,
		"parts":   `ROW(1, convert_to(payload, 'UTF8'))::parts`,
		"parts[]": `ARRAY[ROW(1, convert_to(payload, 'UTF8'))::parts]`,
		"span":    `span(convert_to(payload, 'UTF8'), NULL)`,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w, env := newTextEnv(t)
			w.exec(`CREATE DOMAIN pieces AS bytea[]; CREATE TYPE parts AS (number int, raw bytea);
				CREATE TYPE span AS RANGE (subtype = bytea)`)
			p := w.start(env...)
			p.awaitLog("event=streaming")
			w.exec(insertText, "1", "before")
			w.awaitBody("before")
			w.exec(`BEGIN; ALTER TABLE ev ALTER COLUMN payload TYPE ` + kind + ` USING ` + value + `;
				INSERT INTO ev (aggregate_type, aggregate_id, event_type, payload)
				SELECT 'order', '2', 'order.created', payload FROM ev;
				ALTER TABLE ev ALTER COLUMN payload TYPE text USING to_json(payload)::text; COMMIT`)
			w.exec(insertText, "3", "after")
			w.awaitBody("after")
			w.eventually("the event written meanwhile is a dead letter", func() bool {
				return w.deadLetters() == "parked"
			})
			if code := w.query(`SELECT code FROM outbox_dead_letters`); code != "BinaryValue" {
				t.Errorf("the dead letter has the code %s", code)
			}
			w.checkNoByteaText()

			w.exec(`ALTER TABLE ev ALTER COLUMN payload TYPE ` + kind + ` USING NULL`)
			if err := p.wait(); err == nil || !strings.Contains(strings.ReplaceAll(p.log.String(), `\"`, `"`),
				`USING pg_catalog.to_json("payload")::text`) {
				t.Errorf("the relay ends with %v and does not print the statement that restores text", err)
			}
		})
	}
}

// The type of the column changes between two pages of rows that the relay reads from the table.
func TestRecoverySendsNoByteaAsText(t *testing.T) {
	t.Parallel()
	w, env := newTextEnv(t)
	w.exec(`INSERT INTO ev (aggregate_type, aggregate_id, event_type, payload)
		SELECT 'order', i::text, 'order.created', 'n' || i FROM generate_series(1, 1000) AS i`)
	p := w.start(append(env, "RELAY_START=table", "RELAY_WINDOW_EVENTS=10")...)
	w.eventually("the first rows arrive", func() bool { return len(w.bodies()) > 0 })
	w.exec(`ALTER TABLE ev ALTER COLUMN payload TYPE bytea USING convert_to(payload, 'UTF8')`)
	if err := p.wait(); err == nil {
		t.Fatal("the relay ends without an error")
	}
	w.checkNoByteaText()
	w.exec(`ALTER TABLE ev ALTER COLUMN payload TYPE text USING convert_from(payload, 'UTF8')`)
	w.start(append(env, "RELAY_START=table")...)
	w.awaitAll(1000)
	w.checkNoByteaText()
}
