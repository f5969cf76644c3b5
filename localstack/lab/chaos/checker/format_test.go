package checker_test

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// check returns the report of a history that was written to a file and read from there.
func check(t *testing.T, h *checker.History) *checker.Report {
	t.Helper()
	return checker.Check(reread(t, h))
}

func reread(t *testing.T, h *checker.History) *checker.History {
	t.Helper()
	var file bytes.Buffer
	if err := h.Write(&file); err != nil {
		t.Fatal(err)
	}
	read, err := checker.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestAFileKeepsEveryRecord(t *testing.T) {
	t.Parallel()
	h := intact()
	redrive(h, 1)
	discard(h, 20*second)
	replay(h, 0)
	h.Promises, h.Absent = []checker.Rule{checker.Lost}, []string{checker.Sequence}
	h.Problems = []string{"a relay did not stop"}
	h.Rows[0].Payload, h.Receipts[0].Body = "<ü ☃ 𝄞 \u2028 \uFFFE>\n", `"`
	h.Faults = []checker.Fault{{
		Kind: "freeze", From: 1, To: checker.Unended, Repeats: true, Hides: true, Partial: true, Skips: true,
		Strands: true, Identity: true, Deposed: "relay-1", DeposedAt: 2, Rejoined: 3, Noticed: true,
	}}
	if diff := cmp.Diff(h, reread(t, h)); diff != "" {
		t.Errorf("history (-written +read):\n%s", diff)
	}
}

func TestOnlyPromisedRulesAreChecked(t *testing.T) {
	t.Parallel()
	h := intact()
	h.Receipts = h.Receipts[1:]
	h.Receipts[0].Body = "other"
	h.Promises = []checker.Rule{checker.Lost}
	if report := check(t, h); report.Count(checker.Lost) != 1 || len(report.Violations) != 1 {
		t.Errorf("violations %v", report.Violations)
	}
}

func TestReadRefusesWhatTheCheckerWouldMisread(t *testing.T) {
	t.Parallel()
	const begin = `{"history":{"version":1}}` + "\n"
	for file, want := range map[string]string{
		``:                          "", // no history, no violation
		`{"row":{"id":"a"}}`:        `line 1: a file begins with {"history":{"version":1}}`,
		begin + begin:               "line 2: a file begins with",
		`{"history":{"version":2}}`: "line 1: the history has version 2",
		`{"history":{"version":1,"promises":["fast"]}}`: `"fast" is no promise`,
		begin + "\n" + `{"row":{"sequence":1}}`:         `line 3: json: unknown field "sequence"`,
		begin + `{"rows":[]}`:                           `line 2: json: unknown field "rows"`,
		begin + `{"row":{},"event":{}}`:                 "line 2: has to be one JSON object",
		begin + `{"row":{}} {"row":{}}`:                 "line 2: has to be one JSON object",
		begin + `{}`:                                    "line 2: has to be one JSON object",
		begin + `{"event":{"id":"a","outcome":"ok"}}`:   `event a has the outcome "ok"`,
		begin + `{"row":{"id":"a","seq":1}}` + "\n" + `{"event":{"id":"a","outcome":"committed"}}`: `event a has the ` +
			`destination ""`,
		begin + `{"dead_letter":{"event_id":"a"}}`: "the dead letter of event a has no changes",
	} {
		_, err := checker.Read(strings.NewReader(file))
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\n%v, want %q", file, err, want)
		}
	}
}

const page = "../../../../relay/docs/proof.md"

func TestPageDescribesEveryRecordAndPromise(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []reflect.Type{
		reflect.TypeFor[checker.Destination](), reflect.TypeFor[checker.Event](), reflect.TypeFor[checker.Row](),
		reflect.TypeFor[checker.Receipt](), reflect.TypeFor[checker.DeadLetter](), reflect.TypeFor[checker.Change](),
		reflect.TypeFor[checker.Operator](), reflect.TypeFor[checker.Replay](), reflect.TypeFor[checker.Fault](),
	} {
		for i := range kind.NumField() {
			name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
			if name == "" || !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("the page does not name the field %q of %s", name, kind.Name())
			}
		}
	}
	for _, rule := range checker.Rules {
		if !strings.Contains(string(text), "| `"+string(rule)+"` |") {
			t.Errorf("the page has no row for the promise %q", rule)
		}
	}
}

func TestExampleOfThePageIsIntact(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	h, err := checker.Read(strings.NewReader(example))
	if err != nil {
		t.Fatal(err)
	}
	if report := checker.Check(h); report.Committed < 2 || len(report.Violations) > 0 {
		t.Errorf("%d events, violations %v", report.Committed, report.Violations)
	}
	h.Receipts = h.Receipts[:len(h.Receipts)-1]
	if checker.Check(h).Count(checker.Lost) != 1 {
		t.Error("without its last receipt the example has no lost event")
	}
}
