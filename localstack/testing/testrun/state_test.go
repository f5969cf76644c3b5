package testrun

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the streams come to into testdata")

// replay returns the printed output of a recorded stream of events, and the state after it.
func replay(t *testing.T, s *state, name string) string {
	t.Helper()
	stream, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(stream)) {
		text.WriteString(s.line(strings.TrimSuffix(line, "\n")))
	}
	return text.String()
}

func compare(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("wanted (-), printed (+):\n%s", diff)
	}
}

// TestOutputReadsAsGoTests: each stream was recorded from go test -json. The text file beside it is
// the output of go test without -json, apart from logs of tests that did not end.
func TestOutputReadsAsGoTests(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"pass", "fail", "panics", "race", "exits", "broken", "vetfail", "none", "twice"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newState(plan{}, false, time.Now())
			text := replay(t, s, name)
			compare(t, name, text+s.end())
		})
	}
}

func TestTimeoutNamesTestsInPlaceOfGoroutines(t *testing.T) {
	t.Parallel()
	for _, verbose := range []bool{false, true} {
		s := newState(plan{}, verbose, time.Now())
		text := replay(t, s, "hang") + s.end()
		if !verbose {
			compare(t, "hang", text)
		}
		for _, want := range []string{
			"panic: test timed out after 2s", "TestHangsToo/case (2s)",
			"FAIL\texample.com/module/hang",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("verbose %t: no %q in:\n%s", verbose, want, text)
			}
		}
		if strings.Contains(text, "goroutine ") {
			t.Errorf("verbose %t: goroutines in:\n%s", verbose, text)
		}
		if kept := strings.Join(s.order[0].goroutines, ""); strings.Count(kept, "\ngoroutine ") != 5 {
			t.Errorf("verbose %t: the goroutines kept are:\n%s", verbose, kept)
		}
	}
}

func TestVerboseShowsOnePackageAtATime(t *testing.T) {
	t.Parallel()
	s := newState(plan{}, true, time.Now())
	compare(t, "talk", replay(t, s, "talk")+s.end())
}

func TestVerboseShowsALineAtOnce(t *testing.T) {
	t.Parallel()
	s := newState(plan{}, true, time.Now())
	for _, pkg := range []string{"first", "second"} {
		s.line(`{"Action":"start","Package":"` + pkg + `"}`)
	}
	if text := s.line(`{"Action":"output","Package":"first","Test":"TestA","Output":"a line\n"}`); text != "a line\n" {
		t.Errorf("printed %q for a line of the first package", text)
	}
	if text := s.line(`{"Action":"output","Package":"second","Test":"TestB","Output":"another\n"}`); text != "" {
		t.Errorf("printed %q between the lines of the first package", text)
	}
	if text := s.line(`{"Action":"pass","Package":"first"}`); text != "another\n" {
		t.Errorf("printed %q when the first package had ended", text)
	}
}

func TestLinesThatAreNoEventsAreKept(t *testing.T) {
	t.Parallel()
	s := newState(plan{}, false, time.Now())
	for _, line := range []string{"go: downloading example.com/module v1.0.0", `{"no": "event"}`, "{", ""} {
		if text := s.line(line); text != line+"\n" {
			t.Errorf("printed %q for %q", text, line)
		}
	}
}

func TestInterruptedRunShowsWhatItHas(t *testing.T) {
	t.Parallel()
	s := newState(plan{}, false, time.Now())
	s.line(`{"Action":"start","Package":"p"}`)
	s.line(`{"Action":"run","Package":"p","Test":"TestA"}`)
	s.line(`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: a log\n"}`)
	if text := s.end(); text != "--- UNFINISHED: TestA\n    a_test.go:1: a log\n" {
		t.Errorf("printed %q", text)
	}
}
