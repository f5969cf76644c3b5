package preflight_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestThePublishedParentIsNamed: the table has become a partition of a table that the publication
// has. The statement of the finding is enough, with the setting that the finding names.
func TestThePublishedParentIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ tables, statement, publication string }{
		"of all tables":  {"FOR ALL TABLES", `CREATE PUBLICATION "outbox_pub_ev" FOR TABLE`, "outbox_pub_ev"},
		"of the schema":  {"FOR TABLES IN SCHEMA public", `CREATE PUBLICATION "outbox_pub_ev" FOR`, "outbox_pub_ev"},
		"of both tables": {"FOR TABLE ev, parents", `ALTER PUBLICATION "outbox_pub" DROP TABLE`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEnv(t)
			admin := connect(t, pgtest.SuperuserURL(t, e.url))
			e.exec(`ALTER TABLE ev ALTER seq DROP IDENTITY; ALTER TABLE ev ALTER seq SET NOT NULL;
				CREATE TABLE parents (LIKE ev) PARTITION BY LIST (event_type);
				ALTER TABLE parents ATTACH PARTITION ev DEFAULT;
				DROP PUBLICATION outbox_pub`)
			e.execAs(admin, `CREATE PUBLICATION outbox_pub `+c.tables+` WITH (publish_via_partition_root = true)`)
			found := e.finding(preflight.CodePublication)
			const named = "under the name of public.parents"
			if found.Level != preflight.Error || !strings.Contains(found.Explanation, named) ||
				!strings.HasPrefix(found.Statement, c.statement) {
				t.Fatalf("%+v", found)
			}
			e.execAs(admin, found.Statement)
			if c.publication != "" {
				e.Publication = c.publication
			}
			if found := e.finding(preflight.CodePublication); found.Level != preflight.OK {
				t.Errorf("after the statement: %+v", found)
			}
		})
	}
}

func (e *testEnv) execAs(conn *pgx.Conn, sql string) {
	e.t.Helper()
	if _, err := conn.Exec(e.t.Context(), sql); err != nil {
		e.t.Fatalf("%s: %v", sql, err)
	}
}

// finding returns the first finding of this code.
func (e *testEnv) finding(code preflight.Code) preflight.Finding {
	e.t.Helper()
	all := e.check()
	i := slices.IndexFunc(all, func(f preflight.Finding) bool { return f.Code == code })
	if i < 0 {
		e.t.Fatalf("no finding of code %s in %s", code, all)
	}
	return all[i]
}
