package e2e_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// statement matches a statement of SQL. A semicolon within $$ does not end it.
var statement = regexp.MustCompile(`(?s)(?:\$\$.*?\$\$|[^;$]|\$)+;?`)

// documented returns the statements of the SQL blocks of a page before a heading, without those of
// transactions.
func documented(t *testing.T, page, heading string) (statements []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("page %s has no heading %q", page, heading)
	}
	for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(before, -1) {
		sql := regexp.MustCompile(`--[^\n]*`).ReplaceAllString(block[1], "")
		for _, statement := range statement.FindAllString(sql, -1) {
			statement = strings.TrimSpace(strings.TrimSuffix(statement, ";"))
			if statement != "" && statement != "BEGIN" && statement != "COMMIT" {
				statements = append(statements, statement)
			}
		}
	}
	if len(statements) < 8 {
		t.Fatalf("page %s has the statements %q", page, statements)
	}
	return statements
}

// rights is a test environment whose relays and commands connect as outbox_relay, with a table of
// the user's own that was made by the documents.
type rights struct {
	*testEnv
	settings []string
	said     strings.Builder // by every command
}

func newRights(t *testing.T, version int) *rights {
	t.Helper()
	w, _ := newRolesEnv(t, "orders.fifo", version)
	w.exec(`CREATE TABLE events (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregate_type text DEFAULT 'order',
		aggregate_id text, kind text DEFAULT 'made', body text,
		created_at timestamptz DEFAULT now() - interval '1 day')`)
	operator, err := w.pool.Acquire(t.Context()) // one session, as its sequence is temporary
	w.must(err)
	defer operator.Release()
	for _, statement := range documented(t, "../docs/table.md", "Columns as attributes") {
		_, err := operator.Exec(t.Context(), statement)
		w.must(err)
	}
	w.exec(`REVOKE ALL ON outbox_events FROM ` + migrations.Relay)
	return &rights{testEnv: w, settings: []string{
		"RELAY_TABLE=public.events", "RELAY_COLUMN_EVENT_TYPE=kind", "RELAY_COLUMN_PAYLOAD=body",
		"RELAY_COLUMN_HEADERS=",
	}}
}

// do runs a command that must succeed, and returns its output.
func (r *rights) do(args ...string) string {
	r.t.Helper()
	output, err := r.command(r.settings, args...)
	if err != nil {
		r.t.Errorf("relay %v: %v: %s", args, err, output)
	}
	r.said.WriteString(output)
	return output
}

func (r *rights) write(aggregate, body string) {
	r.t.Helper()
	r.exec(`INSERT INTO events (aggregate_id, body) VALUES ($1, $2)`, aggregate, body)
}

func (r *rights) awaitRows(n string) {
	r.t.Helper()
	r.eventually("the table has "+n+" rows", func() bool { return r.query(`SELECT count(*)::text FROM events`) == n })
}

// TestEachCommandNeedsTheDocumentedRights, and no more: the relay and its commands connect as the
// role that relay migrate makes, with the table that the documents prepare for it.
func TestEachCommandNeedsTheDocumentedRights(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkDocumentedRights)
}

func checkDocumentedRights(t *testing.T, version int) {
	r := newRights(t, version)
	listen := freeAddress(t)
	running := append([]string{"RELAY_START=table", "RELAY_RETENTION=1h", "RELAY_LISTEN=" + listen}, r.settings...)
	output, err := r.command(running, "check")
	if err != nil || strings.Contains(output, "lacks") {
		t.Errorf("relay check: %v: %s", err, output)
	}
	r.write("1", "first")
	r.killAt(steps["table to be read"], running...)
	r.do("recover", "--cancel", "--yes")
	p := r.startStreaming(running...)
	r.awaitBody("first")
	r.awaitRows("0")

	r.parkAndDecide()
	r.observe(listen)
	r.recoverAndReplay()
	p.stop()
	r.dropSlot()
	r.write("4", "after the slot")
	p = r.startStreaming(running...)
	r.awaitBody("after the slot")
	r.awaitRows("2") // the young ones
	p.stop()
	for _, said := range []string{p.log.String(), r.said.String()} {
		if strings.Contains(said, "42501") || strings.Contains(said, "permission denied") {
			t.Errorf("a right is missing: %s", tail(said, 60))
		}
	}
}

// parkAndDecide has three events parked: one is redriven, one is redriven in vain, one is given up.
func (r *rights) parkAndDecide() {
	refused := r.refuseBody("poison")
	for _, aggregate := range []string{"a", "b", "c"} {
		r.write(aggregate, "poison")
	}
	r.eventually("the events are parked", func() bool { return r.deadLetters() == "parked,parked,parked" })
	list := r.do("dead-letters", "list")
	for _, group := range []string{"order/a", "order/b", "order/c"} {
		if !strings.Contains(list, group) {
			r.t.Errorf("%s is not listed: %s", group, list)
		}
	}
	r.do("dead-letters", "show", "--all")
	r.do("dead-letters", "discard", "--group", "order/a")
	r.do("dead-letters", "redrive", "--no-wait", "--group", "order/b")
	r.do("dead-letters", "redrive", "--cancel", "--group", "order/b")
	refused.Clear()
	r.do("dead-letters", "redrive", "--all")
	r.awaitBody("poison")
	r.eventually("all are decided", func() bool {
		return r.query(`SELECT bool_and(state IN ('discarded', 'redriven'))::text FROM outbox_dead_letters`) == "true"
	})
	r.awaitRows("0")
}

// observe asks for the state in each way.
func (r *rights) observe(listen string) {
	r.awaitStatus(1, "streaming for") // the relay that was killed is not heard from
	output, _ := r.command(nil, "status", "--json")
	if !strings.Contains(strings.ReplaceAll(output, " ", ""), `"state":"streaming"`) {
		r.t.Errorf("relay status --json: %s", output)
	}
	output, err := r.command([]string{"RELAY_LISTEN=" + listen}, "healthcheck", "--probe", "readyz")
	if err != nil {
		r.t.Errorf("relay healthcheck: %v: %s", err, output)
	}
	for _, address := range []string{"http://" + listen + "/", r.startPage(r.settings...)} {
		for _, path := range []string{"", "status", "events", "events/x"} {
			code, body := r.get(address + path)
			if r.said.WriteString(body); code != http.StatusOK {
				r.t.Errorf("%s%s answers %d: %s", address, path, code, body)
			}
		}
	}
}

// recoverAndReplay repairs beside the running relay, and sends delivered events again.
func (r *rights) recoverAndReplay() {
	for _, body := range []string{"young 1", "young 2"} {
		r.exec(`INSERT INTO events (aggregate_id, body, created_at) VALUES ('3', $1, now())`, body)
		r.awaitBody(body)
	}
	r.do("recover")
	r.do("recover", "--yes")
	r.awaitRecovered()
	r.awaitDeliveredOf("events", "xid")
	r.do("replay", "--aggregate", "order/3")
	r.do("replay", "--aggregate", "order/3", "--rate", "1", "--yes", "--no-wait")
	r.do("replay", "--stop", "1")
	r.do("replay", "--resume", "1", "--rate", "100")
	if got := r.replayedBodies(); got != "young 1young 2" {
		r.t.Errorf("replayed %q", got)
	}
}
