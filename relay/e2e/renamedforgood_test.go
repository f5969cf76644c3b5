package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// renamePage has the statements of the page, and the setting that it names.
var renamePage = regexp.MustCompile("(?s)\n## Rename the table\n.*?```sql\n(.*?)```.*?`(RELAY_TABLE=[a-z.]+)`")

// TestATableRenamedByThePageLosesNothing: a dead letter and a backlog wait, and services write
// through the view.
func TestATableRenamedByThePageLosesNothing(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/table.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := renamePage.FindStringSubmatch(string(page))
	if steps == nil {
		t.Fatal("the page does not say how to rename a table")
	}
	statements, setting := steps[1], steps[2]
	w := newTestEnv(t, "orders")
	w.exec(`CREATE SCHEMA shop`)
	w.exec(`CREATE TABLE shop.events (LIKE outbox_events INCLUDING ALL)`)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE shop.events`)
	n := 0
	write := func(table string) {
		n++
		w.exec(`INSERT INTO `+table+` (id, aggregate_type, aggregate_id, event_type, payload)
			VALUES (gen_random_uuid(), 'order', $1, 'order.created', $2)`, fmt.Sprint(n), fmt.Sprintf(`{"n":%d}`, n))
	}
	refused := w.refuseBody(`{"n":1}`)
	env := []string{"RELAY_TABLE=shop.events", "RELAY_START=table"}
	relay := w.startStreaming(env...)
	write("shop.events")
	write("shop.events")
	w.eventually("one event is parked, and the other delivered", func() bool {
		return w.query(`SELECT count(*)::text FROM outbox_dead_letters`) == "1" && w.bodies()[`{"n":2}`] == 1
	})
	relay.stop()
	write("shop.events")
	w.exec(`ALTER TABLE shop.events RENAME TO messages`)
	output, err := w.command([]string{setting}, "run")
	w.exec(`ALTER TABLE shop.messages RENAME TO events`)
	if err == nil || !strings.Contains(output, "Rename the table") {
		t.Errorf("another name without the statements: %v: %s", err, output)
	}
	w.runScript(strings.ReplaceAll(statements, "\n   ", "\n"))
	write("shop.events")
	write("shop.messages")
	w.startStreaming(setting, env[1])
	refused.Clear()
	if output, err := w.command([]string{setting}, "dead-letters", "redrive", "--all"); err != nil {
		t.Errorf("redrive: %v: %s", err, output)
	}
	for i := range n {
		body := fmt.Sprintf(`{"n":%d}`, i+1)
		w.awaitBody(body)
		if got := w.bodies()[body]; got != 1 {
			t.Errorf("%s arrived %d times", body, got)
		}
	}
}

// runScript runs the statements of a page on one connection.
func (w *testEnv) runScript(script string) {
	w.t.Helper()
	conn, err := w.pool.Acquire(w.t.Context())
	w.must(err)
	defer conn.Release()
	for statement := range strings.SplitSeq(script, ";") {
		_, err := conn.Exec(w.t.Context(), statement)
		w.must(err)
	}
}
