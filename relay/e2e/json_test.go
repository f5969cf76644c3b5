package e2e_test

import (
	"encoding/json"
	"os/exec"
	"testing"
)

// answer has those fields of the JSON forms of the commands that these tests read.
type answer struct {
	Version  int
	Level    string
	Findings []struct{ Code, Level, Object, Explanation, Statement string }

	Slot        string
	Total       int
	Causes      []struct{ Refused, Behind int }
	DeadLetters []struct {
		Position int
		EventID  string `json:"event_id"`
		Behind   *int
	} `json:"dead_letters"`

	Plan *struct {
		Events, Rows int
		Kinds        []struct{ Events int }
	}
	Replay *struct {
		ID, Sent, Refused int
		State             string
	}
	Checkpoint *struct {
		FlushLSN string `json:"flush_lsn"`
	}
	Gap, Action string
}

// answer runs a command with --json. It returns the form that the command prints on stdout, and its
// exit code.
func (w *testEnv) answer(env []string, args ...string) (a answer, code int) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), relayBinary, append(args, "--json")...)
	cmd.Env = w.env(env...)
	output, err := cmd.Output()
	if err := json.Unmarshal(output, &a); err != nil || a.Version != 1 {
		w.t.Fatalf("%v prints version %d (%v): %s", args, a.Version, err, output)
	}
	return a, exitCode(err)
}

func TestCheckPrintsItsFindingsAsJSON(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	a, code := w.answer(nil, "check")
	if code != 0 || a.Level == "error" || len(a.Findings) < 20 || a.Findings[0].Object == "" {
		t.Errorf("exit code %d, %+v", code, a)
	}
	w.exec(`DROP PUBLICATION outbox_pub`)
	if a, code := w.answer(nil, "check"); code != 1 || a.Level != "error" {
		t.Errorf("without a publication: exit code %d, %+v", code, a)
	}
}

func TestDeadLettersAreListedAsJSON(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	a, code := w.answer(nil, "dead-letters", "list")
	if code != 0 || a.Total != 0 || a.Causes == nil || a.DeadLetters == nil {
		t.Errorf("without dead letters: exit code %d, %+v", code, a)
	}
	w.refuseBody(`{"n":1}`)
	w.parkTwo()
	a, code = w.answer(nil, "dead-letters", "list", "--limit", "1")
	if code != 0 || a.Slot != w.slot || a.Total != 2 || len(a.Causes) != 1 ||
		a.Causes[0].Refused != 1 || a.Causes[0].Behind != 1 ||
		len(a.DeadLetters) != 1 || a.DeadLetters[0].Position != 1 || a.DeadLetters[0].Behind != nil {
		t.Errorf("exit code %d, %+v", code, a)
	}
}

func TestReplayPrintsPlanAndOutcomeAsJSON(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.deliver(8)
	a, code := w.answer(nil, "replay", "--aggregate", "order/1")
	if code != 0 || a.Plan == nil || a.Plan.Events != 2 || len(a.Plan.Kinds) != 1 || a.Replay != nil {
		t.Errorf("the plan: exit code %d, %+v", code, a)
	}
	a, code = w.answer(nil, "replay", "--aggregate", "order/1", "--yes")
	if code != 0 || a.Replay == nil || a.Replay.State != "done" || a.Replay.Sent != 2 {
		t.Errorf("the outcome: exit code %d, %+v", code, a)
	}
	if a, code = w.answer(nil, "replay", "--since", "1h"); code != 1 || a.Plan == nil || a.Plan.Events != 0 {
		t.Errorf("nothing is an hour old: exit code %d, %+v", code, a)
	}
	if a, code = w.answer(nil, "replay", "--since", "9999d"); code != 0 || a.Plan == nil || a.Plan.Events != 8 {
		t.Errorf("all are younger than 9,999 days: exit code %d, %+v", code, a)
	}
}

func TestRecoverPrintsPlanAndActionAsJSON(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":1}`))
	a, code := w.answer(nil, "recover")
	if code != 0 || a.Action != "none" || a.Gap != "" || a.Plan == nil || a.Plan.Rows != 1 || a.Checkpoint == nil {
		t.Errorf("exit code %d, %+v", code, a)
	}
	w.dropSlot()
	if a, code := w.answer(nil, "recover", "--yes"); code != 0 || a.Action != "marked" || a.Gap == "" {
		t.Errorf("with --yes: exit code %d, %+v", code, a)
	}
	if a, code := w.answer(nil, "recover", "--cancel"); code != 1 && a.Action != "none" {
		t.Errorf("with --cancel: exit code %d, %+v", code, a)
	}
}
