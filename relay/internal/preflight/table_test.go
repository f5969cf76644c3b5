package preflight_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestAddingTheColumnsRewritesNoTable has 200,000 rows. On a large table, a rewrite under a lock is
// an outage.
func TestAddingTheColumnsRewritesNoTable(t *testing.T) {
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
	for _, block := range blocks[:2] {
		before := e.fileNode("events")
		e.runScript(comment.ReplaceAllString(block[1], ""))
		if e.fileNode("events") != before {
			t.Errorf("the table was rewritten by\n%s", block[1])
		}
	}
	var numbered, first, last int64
	err = e.conn.QueryRow(t.Context(), `SELECT count(DISTINCT seq), min(seq), max(seq) FROM events`).
		Scan(&numbered, &first, &last)
	if err != nil || numbered != 200000 || first != -200000 || last != -1 {
		t.Errorf("%v: %d rows have numbers from %d to %d", err, numbered, first, last)
	}
	e.exec(`SELECT pg_stat_force_next_flush()`)
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

func TestCheckOfAWrongTableNamesThePublishedOnes(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	published := e.Table
	e.Table.Name += "s"
	found := e.expect(preflight.CodeTable, preflight.Error,
		"does not exist", "has "+published.Schema+"."+published.Name)
	for _, f := range e.check().Of(preflight.Error) {
		if f.Code == preflight.CodePublication {
			t.Errorf("beside %s found %s", found, f)
		}
	}
}
