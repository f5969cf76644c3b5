package testrun

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// module writes a module with a package of these tests and returns its folder.
func module(t *testing.T, tests string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/m\n\ngo 1.26\n", "m_test.go": "package m\n\nimport \"testing\"\n\n" + tests,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func run(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out, complaints bytes.Buffer
	err := Run(ctx, Settings{Dir: dir, Args: args, Env: os.Environ(), Out: &out, Err: &complaints, DumpDir: dir})
	if complaints.Len() > 0 {
		t.Errorf("go test %q complains:\n%s", args, complaints.String())
	}
	return out.String(), err
}

func TestRunFailsWithTheTests(t *testing.T) {
	t.Parallel()
	dir := module(t, "func TestA(t *testing.T) {}\n\nfunc TestB(t *testing.T) { t.Error(`wrong`) }\n")
	if out, err := run(t, dir, "-count=1", "-run=TestA", "./..."); err != nil ||
		!strings.HasPrefix(out, "ok  \texample.com/m\t") {
		t.Errorf("the tests that pass: %v\n%s", err, out)
	}
	if out, err := run(t, dir, "-count=1", "./..."); err == nil || !strings.Contains(out, "--- FAIL: TestB") ||
		!strings.HasSuffix(out, "\nFAIL\n") {
		t.Errorf("the tests of which one fails: %v\n%s", err, out)
	}
	if out, err := run(t, dir, "-count=1", "-v", "-run", "TestA", "./..."); err != nil ||
		!strings.Contains(out, "=== RUN   TestA") {
		t.Errorf("with -v: %v\n%s", err, out)
	}
	if out, err := run(t, dir, "-count=1", "-json", "-run", "TestA", "./..."); err != nil ||
		!strings.HasPrefix(out, "{") {
		t.Errorf("with -json: %v\n%s", err, out)
	}
}

func TestGoroutinesOfATimeoutAreKept(t *testing.T) {
	t.Parallel()
	dir := module(t, "func TestHangs(t *testing.T) { <-make(chan bool) }\n")
	out, err := run(t, dir, "-count=1", "-timeout=1s", "./...")
	if err == nil || !strings.Contains(out, "TestHangs (1s)") || strings.Contains(out, "goroutine ") {
		t.Errorf("%v\n%s", err, out)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "goroutines-m.txt"))
	if err != nil || !strings.Contains(string(kept), "m_test.go:5") {
		t.Errorf("kept: %v\n%s", err, kept)
	}
}

func TestPlanCountsTheTestsOfEachPackage(t *testing.T) {
	t.Parallel()
	dir := module(t, "func TestMain(m *testing.M) { m.Run() }\n\nfunc TestA(t *testing.T) {}\n\nfunc FuzzB(f "+
		"*testing.F) {}\n")
	for _, c := range []struct {
		args  []string
		tests int
	}{
		{[]string{"-count=1", "./..."}, 2},
		{[]string{"-run", "TestA", "."}, 0},
		{[]string{"-count=3", "./..."}, 0},
		{[]string{"./...", "-args", "-run=A"}, 2},
	} {
		p, err := planFor(t.Context(), dir, c.args)
		if tests, planned := p.tests["example.com/m"]; err != nil || !planned || tests != c.tests ||
			p.module != "example.com/m" {
			t.Errorf("%q: %+v, %v, want %d tests", c.args, p, err, c.tests)
		}
	}
}
