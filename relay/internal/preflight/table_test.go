package preflight_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestStatementsRewriteOnlyAsThePageSays: on 200,000 rows, where rewriting them under a lock would
// be an outage.
func TestStatementsRewriteOnlyAsThePageSays(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/table.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Add the two columns\n")
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(section, 3)
	if len(blocks) != 3 {
		t.Fatalf("the page has %d blocks of SQL, want 3", len(blocks))
	}
	e := newTestEnv(t)
	e.Table.Name = "events"
	e.exec(`CREATE TABLE events (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregate_type text, aggregate_id text, event_type text, payload text,
		headers jsonb, created_at timestamptz DEFAULT now());
		INSERT INTO events (payload) SELECT n::text FROM generate_series(1, 200000) AS n`)
	comment := regexp.MustCompile(`--.*`)
	for i, rewrites := range []bool{false, true} {
		before := e.fileNode("events")
		e.runScript(comment.ReplaceAllString(blocks[i][1], ""))
		if rewritten := e.fileNode("events") != before; rewritten != rewrites {
			t.Errorf("the table was rewritten: %v, want %v, by\n%s", rewritten, rewrites, blocks[i][1])
		}
	}
	e.exec(strings.Split(comment.ReplaceAllString(blocks[2][1], ""), "GRANT")[0]) // the roles are not of this database
	e.expectSound()
}

// fileNode returns the number of the file that a table is in. A table that is rewritten gets
// another one.
func (e *testEnv) fileNode(table string) (node uint32) {
	e.t.Helper()
	if err := e.conn.QueryRow(e.t.Context(), `SELECT pg_relation_filenode($1::regclass)`, table).Scan(&node); err != nil {
		e.t.Fatal(err)
	}
	return node
}
