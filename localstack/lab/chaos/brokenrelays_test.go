package chaos_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos"
	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// Each test passes on the unchanged relay in its own package, and fails here.
func TestBrokenRelaysFailTheirTests(t *testing.T) {
	if os.Getenv("CHAOS_MUTANTS") == "" {
		t.Skip("CHAOS_MUTANTS is not set")
	}
	for _, m := range slices.Concat(testedMutants, deferralMutants, severalMutants) {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel() // mostly, a test waits for an event that does not arrive
			root := options(t).Root
			test := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^"+m.test+"$", m.pkg)
			test.Dir = root
			// also applies to the relay that the test builds
			test.Env = append(os.Environ(), "GOFLAGS=-overlay="+m.overlay(t, root))
			output, err := test.CombinedOutput()
			if err == nil || !strings.Contains(string(output), "--- FAIL: "+m.test) {
				t.Fatalf("a relay that %s passes %s: %v\n%s", m.name, m.test, err, output)
			}
			// Every test of the package fails then.
			if strings.Contains(string(output), "relay ended before it logged") {
				t.Fatalf("a relay that %s could not start: %s", m.name, output)
			}
		})
	}
}

// attempts is the number of seeds that a mutant may survive before it counts as not caught.
const attempts = 24

// The chaos runs find the defects that they exist for. The test takes some minutes and needs
// CHAOS_MUTANTS=1.
func TestBrokenRelaysAreCaught(t *testing.T) {
	if os.Getenv("CHAOS_MUTANTS") == "" {
		t.Skip("CHAOS_MUTANTS is not set")
	}
	for _, m := range slices.Concat(mutants, tableMutants) {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			o := options(t)
			o.Dir, o.Short, o.Faults, o.Workers = t.TempDir(), false, m.faults, 4
			o.Runs, o.Seed, o.Settle, o.Shapes, o.Settings = attempts, 1, 15*time.Second, m.shapes, m.settings
			o.Relay = build(t, o, "-overlay", m.overlay(t, o.Root))
			totals, err := m.catch(t, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("caught in run %d, after %v", totals.Runs, totals.Took.Round(time.Second))
		})
	}
}

// catch runs the relay of o until a run shows the mutant. A relay that cannot start at all delivers
// nothing either, which says nothing about what was broken in it.
func (m mutant) catch(t *testing.T, o chaos.Options) (*chaos.Totals, error) {
	o.Until = func(r *chaos.Result) bool {
		breaks := func(rule checker.Rule) bool { return r.Report.Count(rule) > 0 }
		return r.Streamed && slices.ContainsFunc(m.rules, breaks)
	}
	totals, err := chaos.Run(t.Context(), o)
	switch {
	case err != nil && !errors.Is(err, chaos.ErrBroken):
		return nil, err
	case slices.ContainsFunc(totals.Failed, o.Until):
		return totals, nil
	case slices.ContainsFunc(totals.Failed, func(r *chaos.Result) bool { return !r.Streamed }):
		return nil, fmt.Errorf("no relay that %s could start: the mutant does not show what it is there for", m.name)
	}
	return nil, fmt.Errorf("a relay that %s survived %d runs", m.name, totals.Runs)
}

// TestAMutantThatCannotStartIsNotCaught: its run breaks the rule that should catch it.
func TestAMutantThatCannotStartIsNotCaught(t *testing.T) {
	t.Parallel()
	o := options(t)
	var err error
	if o.Relay, err = exec.LookPath("false"); err != nil {
		t.Fatal(err)
	}
	o.Dir, o.Runs, o.Settle, o.Workers = t.TempDir(), 1, time.Second, 1
	for !chaos.NewPlan(o.Seed, o).ColdStart { // otherwise the machine waits for a relay before it writes
		o.Seed += 10 // calm runs
	}
	_, err = mutant{name: "ends at once", rules: []checker.Rule{checker.Lost, checker.Stuck}}.catch(t, o)
	if err == nil || !strings.Contains(err.Error(), "could start") {
		t.Errorf("it is caught: %v", err)
	}
}

// The text that each mutant replaces still occurs once in the relay.
func TestBrokenRelaysFollowTheRelay(t *testing.T) {
	t.Parallel()
	for _, m := range slices.Concat(mutants, tableMutants) {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			m.overlay(t, options(t).Root)
		})
	}
	for _, m := range slices.Concat(testedMutants, deferralMutants, severalMutants) {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			m.overlay(t, options(t).Root)
		})
	}
}

// overlay writes the edited files, and the overlay file that tells go build where they are.
func (m mutant) overlay(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	edited := map[string]string{}
	for _, e := range m.edits {
		if edited[e.file] == "" {
			content, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				t.Fatal(err)
			}
			edited[e.file] = string(content)
		}
		if n := strings.Count(edited[e.file], e.before); n != 1 {
			t.Fatalf("%s has %q %d times, want once: adapt the mutant to the relay", e.file, e.before, n)
		}
		edited[e.file] = strings.Replace(edited[e.file], e.before, e.after, 1)
	}
	replace := map[string]string{}
	for file, content := range edited {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = path
	}
	return writeJSON(t, filepath.Join(dir, "overlay.json"), map[string]any{"Replace": replace})
}

func writeJSON(t *testing.T, path string, content any) string {
	t.Helper()
	text, err := json.Marshal(content)
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
