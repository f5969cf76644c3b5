package preflight_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// One table of each kind is checked. The difference of a table in one fact alone makes it a kind.
func TestEveryDifferenceMakesAnotherKind(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.Removes, e.Defers, e.RowsStay = true, true, "assert"
	e.exec(`CREATE TABLE ev1 (LIKE ev INCLUDING ALL); ALTER PUBLICATION outbox_pub ADD TABLE ev1`)
	for n, change := range []string{
		`ALTER TABLE {t} DROP COLUMN headers`,
		`ALTER TABLE {t} ALTER COLUMN headers TYPE integer USING 1`,
		`ALTER TABLE {t} ALTER COLUMN xid DROP NOT NULL`,
		`ALTER TABLE {t} ALTER COLUMN xid DROP DEFAULT`,
		`ALTER TABLE {t} ALTER COLUMN payload TYPE bytea USING payload::bytea`,
		`ALTER TABLE {t} ALTER COLUMN seq SET CACHE 7`,
		`ALTER TABLE {t} ALTER COLUMN seq SET INCREMENT -1`,
		`ALTER TABLE {t} ALTER COLUMN seq DROP IDENTITY;
			ALTER TABLE {t} ALTER COLUMN seq SET DEFAULT 7`,
		`CREATE SEQUENCE numbers CACHE 7; ALTER TABLE {t} ALTER COLUMN seq DROP IDENTITY;
			ALTER TABLE {t} ALTER COLUMN seq SET DEFAULT nextval('numbers')`,
		`ALTER TABLE {t} DROP CONSTRAINT {t}_pkey`,
		`DROP INDEX {t}_seq_idx`,
		`DROP INDEX {t}_seq_idx; CREATE UNIQUE INDEX ON {t} (seq) WHERE seq > 7`,
		`DROP INDEX {t}_seq_idx; CREATE UNIQUE INDEX ON {t} (seq, id)`,
		`DROP INDEX {t}_xid_idx`,
		`ALTER PUBLICATION outbox_pub DROP TABLE {t}; ALTER TABLE {t} SET UNLOGGED`,
		`ALTER TABLE {t} ENABLE ROW LEVEL SECURITY; ALTER TABLE {t} FORCE ROW LEVEL SECURITY`,
		`REVOKE SELECT ON {t} FROM CURRENT_USER`,
		`REVOKE DELETE ON {t} FROM CURRENT_USER`,
		`CREATE PUBLICATION other FOR TABLE {t}; ALTER TABLE {t} REPLICA IDENTITY NOTHING`,
		`ALTER PUBLICATION outbox_pub DROP TABLE {t}; ALTER PUBLICATION outbox_pub ADD TABLE {t} (id)`,
		`ALTER PUBLICATION outbox_pub DROP TABLE {t}; ALTER PUBLICATION outbox_pub ADD TABLE {t} WHERE (seq > 7)`,
		`CREATE TABLE below () INHERITS ({t})`,
		`INSERT INTO {t} (seq) OVERRIDING SYSTEM VALUE VALUES (1::bigint << 50)`,
		`ALTER TABLE {t} DROP COLUMN event_type;
			ALTER TABLE {t} ADD event_type text GENERATED ALWAYS AS (aggregate_type || 'x') STORED`,
	} {
		name := fmt.Sprintf("ev_%d", n)
		e.exec(`CREATE TABLE ` + name + ` (LIKE ev INCLUDING ALL); ALTER PUBLICATION outbox_pub ADD TABLE ` + name)
		e.exec(strings.ReplaceAll(change, "{t}", name))
		alone, together := e.problemsOfSeveral(name), e.problemsOfSeveral("ev", "ev1", name)
		if len(alone) == 0 || !slices.EqualFunc(alone, together, func(a, b preflight.Finding) bool {
			return a.String() == b.String() && a.Level == b.Level
		}) {
			t.Errorf("%s\nalone:\n%v\ntogether:\n%v", change, alone, together)
		}
	}
}

// No other settings fit one of several tables.
func TestOneOfSeveralTablesGetsNoProposal(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`CREATE TABLE bare (id uuid PRIMARY KEY, payload json); ALTER PUBLICATION outbox_pub ADD TABLE bare`)
	found := e.problemsOfSeveral("ev", "bare").Of(preflight.Error)
	if len(found) != 1 || found[0].Code != preflight.CodeColumns ||
		!strings.Contains(found[0].Explanation, "remove the table from publication outbox_pub") ||
		strings.Contains(found[0].Explanation, "proposal") {
		t.Errorf("found %v", found)
	}
	e.exec(`ALTER TABLE ev DROP created_at; ALTER TABLE ev ADD created_at text;
		CREATE TABLE ev1 (LIKE ev INCLUDING ALL); ALTER PUBLICATION outbox_pub SET TABLE ev, ev1`)
	if found := e.problemsOfSeveral("ev", "ev1"); len(found) == 0 ||
		!strings.HasSuffix(found[0].Explanation, "(and 1 other table)") {
		t.Errorf("found %v", found)
	}
}

// problemsOfSeveral checks some of several tables, and returns the findings that are not OK. It
// omits the one that any of several tables has.
func (e *testEnv) problemsOfSeveral(names ...string) preflight.Findings {
	e.t.Helper()
	single := e.Table
	defer func() { e.Table = single }()
	e.Table.Schema, e.Table.Name = "", ""
	e.Table.Several = &outboxtable.Several{Publication: e.Publication}
	for _, name := range names {
		e.Table.Several.Patterns = append(e.Table.Several.Patterns, outboxtable.Pattern{
			Schema: []string{"public"}, Name: name,
		})
	}
	return slices.DeleteFunc(e.check(), func(f preflight.Finding) bool {
		return f.Level == preflight.OK || strings.Contains(f.Explanation, "RELAY_TABLE names several tables")
	})
}
