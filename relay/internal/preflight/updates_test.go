package preflight_test

import (
	"slices"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestCheckCountsUpdatesOfRows: no publication of the relay brings the second version of a row.
func TestCheckCountsUpdatesOfRows(t *testing.T) {
	t.Parallel()
	const upsert = `INSERT INTO ev (id, event_type) VALUES ('00000000-0000-0000-0000-000000000001', 'made')
		ON CONFLICT (id) DO UPDATE SET event_type = 'changed'`
	for name, c := range map[string]struct {
		prepare, change string
		words           []string
	}{
		"update": {
			``, `INSERT INTO ev (event_type) VALUES ('a'), ('b'); UPDATE ev SET payload = 'x'`,
			[]string{"2 updates of rows of table public.ev", "does not publish them (publish = 'insert')"},
		},
		"upsert": {``, upsert + `; ` + upsert, []string{"1 update of rows", "ON CONFLICT DO UPDATE"}},
		"published": {
			`ALTER PUBLICATION outbox_pub SET (publish = 'insert, update')`, upsert + `; ` + upsert,
			[]string{"1 update of rows", "the relay skips them"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEnv(t)
			if c.prepare != "" {
				e.exec(c.prepare)
			}
			e.exec(`INSERT INTO ev (event_type) VALUES ('c'); DELETE FROM ev`)
			e.expectSound()
			e.exec(c.change)
			e.exec(`SELECT pg_stat_force_next_flush()`)
			words := append(slices.Clone(c.words), "Insert a new row for each event")
			f := e.expect(preflight.CodeUpdates, preflight.Degraded, words...)
			if _, err := connect(t, pgtest.SuperuserURL(t, e.url)).Exec(t.Context(), f.Statement); err != nil {
				t.Fatalf("%s: %v", f.Statement, err)
			}
			e.expectSound()
		})
	}
}

func TestCheckCountsUpdatesInPartitions(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.IDUnique = true
	e.exec(`DROP TABLE ev; CREATE SEQUENCE numbers;
		CREATE TABLE ev (id uuid DEFAULT gen_random_uuid(), aggregate_type text, aggregate_id text, event_type text,
			payload text, headers jsonb, created_at timestamptz, seq bigint NOT NULL DEFAULT nextval('numbers'),
			xid xid8 NOT NULL DEFAULT pg_current_xact_id()) PARTITION BY LIST (event_type);
		CREATE TABLE ev_a PARTITION OF ev FOR VALUES IN ('a');
		CREATE TABLE ev_b PARTITION OF ev FOR VALUES IN ('b');
		CREATE UNIQUE INDEX ON ev_a (seq); CREATE UNIQUE INDEX ON ev_b (seq); CREATE INDEX ON ev (xid);
		ALTER PUBLICATION outbox_pub ADD TABLE ev`)
	e.exec(`INSERT INTO ev (event_type) VALUES ('a'), ('b'); UPDATE ev SET payload = 'x' WHERE event_type = 'b'`)
	e.exec(`SELECT pg_stat_force_next_flush()`)
	f := e.expect(preflight.CodeUpdates, preflight.Degraded, "1 update of rows of table public.ev")
	if f.Statement != `SELECT pg_stat_reset_single_table_counters('public.ev_b'::regclass);` {
		t.Errorf("the statement is %s", f.Statement)
	}
}
