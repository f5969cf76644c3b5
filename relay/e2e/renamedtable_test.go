package e2e_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// asSuperuser runs statements that only a superuser may run.
func (w *testEnv) asSuperuser(statements ...string) {
	w.t.Helper()
	admin, err := pgx.Connect(w.t.Context(), pgtest.SuperuserURL(w.t, w.url))
	w.must(err)
	defer admin.Close(w.t.Context())
	for _, sql := range statements {
		_, err := admin.Exec(w.t.Context(), sql)
		w.must(err)
	}
}

// publishSchema adds the tables of a schema to the publication, under whatever name they have.
func (w *testEnv) publishSchema(schema string) {
	w.t.Helper()
	w.asSuperuser(`ALTER PUBLICATION outbox_pub ADD TABLES IN SCHEMA ` + schema)
}

// move is a table that has another name for a while.
type move struct {
	prepare func(*testEnv)
	away    []string
	name    string // of the table while it is away
	back    []string
}

func (w *testEnv) execAll(statements []string) {
	w.t.Helper()
	for _, sql := range statements {
		w.exec(sql)
	}
}

// The log has the rows under the name that the table had when they were written. Of the publication
// of a schema, the log lacks the rows that were written in another schema.
func TestATenantRenamedForAWhileLosesNothing(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]move{
		"schema": {
			away: []string{`ALTER SCHEMA tenant_1 RENAME TO moved`}, name: "moved.outbox",
			back: []string{`ALTER SCHEMA moved RENAME TO tenant_1`},
		},
		"table": {
			away: []string{`ALTER TABLE tenant_1.outbox RENAME TO other`}, name: "tenant_1.other",
			back: []string{`ALTER TABLE tenant_1.other RENAME TO outbox`},
		},
		"table of a published schema": {
			prepare: func(w *testEnv) {
				w.exec(`CREATE SCHEMA moved`)
				w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE tenant_1.outbox`)
				w.publishSchema("tenant_1")
			},
			away: []string{`ALTER TABLE tenant_1.outbox SET SCHEMA moved`}, name: "moved.outbox",
			back: []string{`ALTER TABLE moved.outbox SET SCHEMA tenant_1`},
		},
		"two tables swapped": {
			away: []string{
				`ALTER SCHEMA tenant_1 RENAME TO between`, `ALTER SCHEMA tenant_0 RENAME TO tenant_1`,
				`ALTER SCHEMA between RENAME TO tenant_0`,
			},
			name: "tenant_0.outbox",
			back: []string{
				`ALTER SCHEMA tenant_1 RENAME TO between`, `ALTER SCHEMA tenant_0 RENAME TO tenant_1`,
				`ALTER SCHEMA between RENAME TO tenant_0`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			env := w.schemas(2)
			if m.prepare != nil {
				m.prepare(w)
			}
			p := w.startStreaming(env)
			w.insertInto("tenant_1.outbox", "1", 1, 5)
			w.awaitOfTable("tenant_1.outbox", "1", 5)
			w.execAll(m.away)
			p.awaitLog("event=tables_left")
			w.insertInto(m.name, "1", 6, 10)
			w.insertInto("tenant_0.outbox", "other", 100, 100)
			w.awaitBody(numbered(100)) // the stream has passed the rows
			w.execAll(m.back)
			w.insertInto("tenant_1.outbox", "1", 11, 11)
			for n := range 11 {
				w.awaitBody(numbered(n + 1))
			}
		})
	}
}

// Only the table has the rows that were written while it had another name, and it has that name
// while the relay recovers.
func TestALostSlotKeepsRowsOfARenamedTable(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(2)
	p := w.startStreaming(env)
	w.insertInto("tenant_1.outbox", "1", 1, 5)
	w.awaitOfTable("tenant_1.outbox", "1", 5)
	w.exec(`ALTER SCHEMA tenant_1 RENAME TO moved`)
	p.awaitLog("event=tables_left")
	p.kill()
	w.insertInto("moved.outbox", "1", 6, 10)
	w.dropSlot()
	w.startStreaming(env)
	w.insertInto("tenant_0.outbox", "other", 100, 100)
	w.awaitBody(numbered(100))
	w.exec(`ALTER SCHEMA moved RENAME TO tenant_1`)
	for n := range 10 {
		w.awaitBody(numbered(n + 1))
	}
}

// The relay is down meanwhile, and a view takes the place of the table.
func TestATableRenamedForAWhileLosesNothing(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]move{
		"table": {
			away: []string{
				`ALTER TABLE outbox_events RENAME TO e`, `CREATE VIEW outbox_events AS SELECT * FROM e`,
			},
			name: "outbox_events",
			back: []string{`DROP VIEW outbox_events`, `ALTER TABLE e RENAME TO outbox_events`},
		},
		"partitioned table": {
			prepare: (*testEnv).partitionByTime,
			away: []string{
				`ALTER TABLE outbox_events RENAME TO e`, `ALTER TABLE today RENAME TO everyday`,
			},
			name: "e",
			back: []string{`ALTER TABLE e RENAME TO outbox_events`},
		},
		"table of a published schema": {
			prepare: func(w *testEnv) {
				w.exec(`CREATE SCHEMA moved`)
				w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
				w.publishSchema("public")
			},
			away: []string{`ALTER TABLE outbox_events SET SCHEMA moved`}, name: "moved.outbox_events",
			back: []string{`ALTER TABLE moved.outbox_events SET SCHEMA public`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			if m.prepare != nil {
				m.prepare(w)
			}
			const env = "RELAY_ID_UNIQUE=assert" // for the partitioned table
			p := w.startStreaming(env)
			w.insertInto("outbox_events", "1", 1, 1)
			w.awaitBody(numbered(1))
			w.awaitDelivered()
			p.stop()
			w.execAll(m.away)
			w.insertInto(m.name, "1", 2, 6)
			w.execAll(m.back)
			w.startStreaming(env)
			for n := range 6 {
				w.awaitBody(numbered(n + 1))
			}
		})
	}
}
