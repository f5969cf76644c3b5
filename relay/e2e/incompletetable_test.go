package e2e_test

import (
	"strings"
	"testing"
)

// TestRowsOfAMistakenTableAreParked: the table is no outbox table, and left the publication again.
func TestRowsOfAMistakenTableAreParked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ columns, then string }{
		"without further columns": {},
		"with a further column":   {columns: ", remark text"},
		"that was dropped":        {", remark text", `DROP TABLE tenant_x.outbox`},
		"under another name":      {", remark text", `ALTER TABLE tenant_x.outbox RENAME TO moved`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			env := w.schemas(2)
			w.startStreaming(env).stop()
			w.exec(`CREATE SCHEMA tenant_x`)
			w.exec(`CREATE TABLE tenant_x.outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), payload json` +
				c.columns + `)`)
			w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_x.outbox`)
			w.exec(`INSERT INTO tenant_x.outbox (payload) VALUES ('{}')`)
			w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE tenant_x.outbox`)
			if c.then != "" {
				w.exec(c.then)
			}
			p := w.start(env)
			if err := p.wait(); err == nil || !strings.Contains(p.log.String(), "run relay recover") {
				t.Fatalf("the relay ends with %v", err)
			}
			if output, err := w.command([]string{env}, "recover", "--yes"); err != nil {
				t.Fatalf("relay recover ends with %v: %s", err, output)
			}
			w.startStreaming(env)
			w.awaitStatus(1, "1 event is parked: 1 IncompleteRow", env)
			w.insertInto("tenant_0.outbox", "1", 1, 1)
			w.awaitOfTable("tenant_0.outbox", "1", 1)
		})
	}
}

// TestARenamedColumnOfATableThatLeftIsAsked: a setting reads the row, and the relay does not park
// it.
func TestARenamedColumnOfATableThatLeftIsAsked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(2)
	w.startStreaming(env).stop()
	w.insertInto("tenant_1.outbox", "1", 1, 1)
	w.exec(`DELETE FROM tenant_1.outbox`)
	w.exec(`ALTER TABLE tenant_0.outbox RENAME payload TO body`)
	w.exec(`ALTER TABLE tenant_1.outbox RENAME payload TO body`)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE tenant_1.outbox`)
	if output, err := w.command([]string{env}, "recover", "--yes"); err != nil {
		t.Fatalf("relay recover ends with %v: %s", err, output)
	}
	setting := w.start(env, "RELAY_COLUMN_PAYLOAD=body").follow()
	w.startStreaming(env, setting)
	w.awaitOfTable("tenant_1.outbox", "1", 1)
}
