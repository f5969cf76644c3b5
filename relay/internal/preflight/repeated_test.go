package preflight_test

import (
	"fmt"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// partitionsNumberedFrom1 makes ev of three partitions, each of which has rows 1 to 300. seq
// defines the column.
func (e *testEnv) partitionsNumberedFrom1(seq string) {
	e.t.Helper()
	e.IDUnique = true
	e.exec(`DROP TABLE ev; CREATE TABLE ev (id uuid DEFAULT gen_random_uuid(), aggregate_type text, aggregate_id text,
			event_type text, payload text, headers jsonb, created_at timestamptz NOT NULL DEFAULT now(),
			` + seq + `, xid xid8 NOT NULL DEFAULT pg_current_xact_id()) PARTITION BY RANGE (created_at);
		CREATE INDEX ON ev (xid)`)
	for year := 2001; year <= 2003; year++ {
		e.exec(fmt.Sprintf(`CREATE TABLE ev_%[1]d (LIKE ev INCLUDING DEFAULTS, UNIQUE (seq));
			INSERT INTO ev_%[1]d (seq, created_at, payload)
			SELECT i, '%[1]d-02-01', i FROM generate_series(1, 300) AS i;
			ALTER TABLE ev ATTACH PARTITION ev_%[1]d FOR VALUES FROM ('%[1]d-01-01') TO ('%[2]d-01-01')`, year, year+1))
	}
	e.exec(`ALTER PUBLICATION outbox_pub SET TABLE ev`)
}

// TestEqualSeqsOfPartitionsAreFound although every partition has a unique index and one sequence
// numbers the new rows. The statement keeps the order of the rows.
func TestEqualSeqsOfPartitionsAreFound(t *testing.T) {
	t.Parallel()
	for name, seq := range map[string]string{
		"default":  `seq bigint NOT NULL DEFAULT nextval('ev_numbers')`,
		"identity": `seq bigint GENERATED ALWAYS AS IDENTITY (START 301)`, // of the table from Postgres 17 on
		"function": `seq bigint NOT NULL DEFAULT ev_number()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEnv(t)
			e.exec(`CREATE SEQUENCE ev_numbers START 301;
				CREATE FUNCTION ev_number() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('ev_numbers') $$`)
			e.partitionsNumberedFrom1(seq)
			e.runScript(e.expect(preflight.CodeOrder, preflight.Degraded, "have the same seq").Statement)
			for _, f := range e.check() { // its updates count, as soon as the server reports them
				if f.Level != preflight.OK && f.Code != preflight.CodeUpdates {
					t.Errorf("%s %s: %s", f.Level, f.Code, f)
				}
			}
			var rows, ordered int
			err := e.conn.QueryRow(t.Context(), `
				SELECT count(DISTINCT seq), count(*) FILTER (WHERE is_next) FROM (
					SELECT seq, seq > lag(seq, 1, seq - 1) OVER (ORDER BY created_at, payload::int) AS is_next
					FROM ev) AS numbered`).Scan(&rows, &ordered)
			if err != nil || rows != 900 || ordered != 900 {
				t.Errorf("%d of 900 rows have their own number, %d are in order: %v", rows, ordered, err)
			}
		})
	}
}
