package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// example is a program of relay/docs/examples in another language.
type example struct {
	tool    string     // without it the test is skipped, but not in CI
	install [][]string // commands in a copy of the example
	program []string   // and its first arguments
}

var examples = map[string]example{
	"typescript": {
		tool: "npm",
		install: [][]string{
			{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"},
			{"npm", "run", "build"},
		},
		program: []string{"node", "dist/main.js"},
	},
	"python": {
		tool: "python3",
		install: [][]string{
			{"python3", "-m", "venv", ".venv"},
			{
				".venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r",
				"requirements.lock",
			},
		},
		program: []string{".venv/bin/python", "-u", "main.py"},
	},
}

// TestExamplesOfOtherLanguagesActOnce runs the files that the pages of the languages show.
func TestExamplesOfOtherLanguagesActOnce(t *testing.T) {
	t.Parallel()
	for name, e := range examples {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e.require(t)
			w := newTestEnv(t, "orders.fifo")
			w.migrateFunctions()
			client := sqs.NewFromConfig(messaging.Config(w.broker.URL()))
			_, err := client.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
				QueueUrl: &w.queue.URL, Attributes: map[string]string{"VisibilityTimeout": "1"},
			})
			w.must(err)
			w.startStreaming()
			run := runningExample{testEnv: w, example: e, dir: e.copyOf(t, name)}
			run.checkProducer()
			consumer := run.start("consume")
			run.checkConsumer(consumer)
			consumer.stop()
		})
	}
}

// require skips the test on a machine without the language. CI has all of them.
func (e example) require(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(e.tool); err == nil {
		return
	}
	if os.Getenv("REQUIRE_LOCALSTACK") == "1" {
		t.Fatalf("%s is missing", e.tool)
	}
	t.Skipf("%s is missing", e.tool)
}

// copyOf returns a copy of the example with its dependencies, so that no file of the checkout
// changes.
func (e example) copyOf(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "docs", "examples", name))); err != nil {
		t.Fatal(err)
	}
	for _, command := range e.install {
		install := exec.CommandContext(t.Context(), command[0], command[1:]...)
		install.Dir = dir
		if output, err := install.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", command, err, output)
		}
	}
	return dir
}

type runningExample struct {
	*testEnv
	example
	dir string
}

// start starts a command of the example.
func (r runningExample) start(arguments ...string) *process {
	r.t.Helper()
	path := r.program[0]
	if strings.Contains(path, "/") {
		path = filepath.Join(r.dir, path)
	}
	cmd := exec.Command(path, slices.Concat(r.program[1:], arguments)...)
	cmd.Dir = r.dir
	cmd.Env = r.env("QUEUE_URL="+r.queue.URL, "AWS_DEFAULT_REGION=us-east-1")
	return r.launchCommand(cmd)
}

// checkProducer writes an order, and one that the database refuses.
func (r runningExample) checkProducer() {
	r.t.Helper()
	written := r.start("order", "customer-1")
	r.must(written.wait())
	id := strings.TrimSpace(written.stdout.String())
	got := r.query(`SELECT aggregate_id || ' ' || event_type || ' ' || (payload ->> 'id') FROM outbox_events`)
	if got != id+" order.created "+id {
		r.t.Errorf("order %s has the event %s", id, got)
	}
	if err := r.start("order", "").wait(); err == nil { // orders refuses an empty customer
		r.t.Error("a refused order is no error")
	}
	if n := r.query(`SELECT count(*)::text FROM outbox_events`); n != "1" {
		r.t.Errorf("%s events, want that of the first order alone", n)
	}
}

// checkConsumer has each event delivered again, and a message that fails in front of another one of
// its group.
func (r runningExample) checkConsumer(consumer *process) {
	r.t.Helper()
	shipped := func() string {
		return r.query(`SELECT string_agg(customer_id, ' ' ORDER BY created_at) FROM shipments`)
	}
	r.eventually("the order is shipped", func() bool { return shipped() == "customer-1" })
	r.exec(`ALTER TABLE shipments ADD CONSTRAINT not_yet CHECK (customer_id <> 'broken')`)
	r.commit(
		event(r.t, "1", fmt.Sprintf(`{"id":%q,"customer_id":"broken"}`, uuid.NewString())),
		event(r.t, "1", fmt.Sprintf(`{"id":%q,"customer_id":"behind"}`, uuid.NewString())),
	)
	consumer.awaitLog("not_yet")
	r.exec(`ALTER TABLE shipments DROP CONSTRAINT not_yet`)
	r.eventually("both are shipped", func() bool { return len(strings.Fields(shipped())) == 3 })
	r.awaitDelivered()
	r.replay("--since", "1h", "--yes")
	r.eventually("the queue is empty", func() bool { return messagesOf(r.testEnv, r.queue.URL) == 0 })
	if got := shipped(); got != "customer-1 broken behind" {
		r.t.Errorf("shipped %s, want each order once and in its order", got)
	}
}

// TestStatementsOfThePageAreAccepted executes the SQL of the page for all other languages, with
// texts as parameters.
func TestStatementsOfThePageAreAccepted(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/languages.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newTestEnv(t, "orders")
	w.migrateFunctions()
	blocks := regexp.MustCompile("(?s)```sql\n(.+?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Fatalf("the page has %d statements, want 2", len(blocks))
	}
	w.exec(blocks[0][1], uuid.NewString(), "order", "4711", "order.shipped", `{"carrier": "dhl"}`, `{"tenant": "acme"}`)
	for range 2 {
		w.exec(blocks[1][1], "shipping", "1")
	}
	if got := w.query(`SELECT payload::text || headers::text || (SELECT count(*) FROM inbox_events)
		FROM outbox_events`); got != `{"carrier": "dhl"}{"tenant": "acme"}1` {
		t.Errorf("the rows are %s", got)
	}
}
