package preflight_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestStatementsRewriteOnlyAsThePageSays has 200,000 rows. On a large table, a rewrite under a lock
// is an outage.
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
	e.exec(`
		CREATE TABLE events (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregate_type text, aggregate_id text,
			event_type text, payload text, headers jsonb, created_at timestamptz DEFAULT now());
		INSERT INTO events (payload) SELECT n::text FROM generate_series(1, 200000) AS n`)
	comment := regexp.MustCompile(`--.*`)
	for i, rewrites := range []bool{false, true} {
		before := e.fileNode("events")
		e.runScript(comment.ReplaceAllString(blocks[i][1], ""))
		if rewritten := e.fileNode("events") != before; rewritten != rewrites {
			t.Errorf("the table was rewritten: %v, want %v, by\n%s", rewritten, rewrites, blocks[i][1])
		}
	}
	// The roles belong to another database.
	e.exec(strings.Split(comment.ReplaceAllString(blocks[2][1], ""), "GRANT")[0])
	e.expectSound()
}

// fileNode returns the number of a table's file. A rewritten table gets another one.
func (e *testEnv) fileNode(table string) (node uint32) {
	e.t.Helper()
	err := e.conn.QueryRow(e.t.Context(), `SELECT pg_relation_filenode($1::regclass)`, table).Scan(&node)
	if err != nil {
		e.t.Fatal(err)
	}
	return node
}
