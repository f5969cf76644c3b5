package e2e_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// writeLate writes an event whose transaction commits some time after it began.
const writeLate = `WITH event AS (` + writeOutboxEvent + ` RETURNING id) SELECT pg_sleep(0.05) FROM event`

// wayBack returns the statements of "Back to the job" in relay/docs/from-polling.md, for the table
// and the slot of the environment.
func (w *testEnv) wayBack() []string {
	w.t.Helper()
	page, err := os.ReadFile("../docs/from-polling.md")
	w.must(err)
	_, section, _ := strings.Cut(string(page), "\n## Back to the job\n")
	var statements []string
	for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(section, -1) {
		sql := strings.ReplaceAll(block[1], "outbox_relay", w.slot)
		sql = regexp.MustCompile(`\bevents\b`).ReplaceAllString(sql, "outbox_events")
		for _, statement := range strings.SplitAfter(sql, ";") {
			if statement = strings.TrimSpace(statement); statement != "" {
				statements = append(statements, statement)
			}
		}
	}
	if len(statements) != 5 {
		w.t.Fatalf("the section has the statements %q", statements)
	}
	return statements
}

// asText returns a statement that returns the one value of statement as text.
func asText(statement string) string {
	return "SELECT value::text FROM (" + strings.TrimSuffix(statement, ";") + ") AS one (value)"
}

// TestAPollingPublisherReturns follows the way back under load, with transactions that are open
// while the relay stops.
func TestAPollingPublisherReturns(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.exec(`ALTER TABLE outbox_events ADD COLUMN sent_at timestamptz`)
	steps := w.wayBack()
	relay := w.startStreaming("RELAY_START=now")
	l := w.startTraffic(writeLate)
	w.eventually("the relay publishes", func() bool { return len(w.broker.Received(w.queue.ARN)) > 50 })
	w.awaitStatus(0, "")
	w.exec(steps[0])
	once := map[string]bool{}
	for _, id := range strings.Fields(w.query(`SELECT string_agg(id::text, ' ') FROM before_back`)) {
		once[id] = true
	}
	noted := w.query(asText(steps[1]))
	delivered := asText(strings.ReplaceAll(steps[2], "0/1A2B3C4", noted))
	w.eventually("the relay has delivered the noted rows", func() bool { return w.query(delivered) == "true" })
	relay.stop()
	seen := len(l.all())
	w.eventually("further events are written", func() bool { return len(l.all()) > seen+30 })
	w.exec(steps[3])
	polling := w.poll()
	l.stop()
	all := l.all()
	w.eventually("the job has sent the last rows", func() bool {
		return w.query(`SELECT count(*)::text FROM outbox_events WHERE sent_at IS NULL`) == "0"
	})
	polling.stop()
	w.exec(steps[4])
	h := handover{before: w.ids(w.queue.ARN, "event_id"), after: map[string]bool{}}
	for _, e := range polling.all() {
		h.after[e.id] = true
	}
	h.check(t, all, once)
}
