package testrun

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestProgressNamesWhatRunsAndWhatIsLeft(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	all := plan{module: "example.com/m", tests: map[string]int{
		"example.com/m/a": 3, "example.com/m/b": 0,
		"example.com/m/c": 7,
	}}
	s := newState(all, false, begin)
	for _, e := range []struct {
		second             int
		action, pkg, tests string
	}{
		{0, "start", "a", ""},
		{0, "run", "a", "TestWaits"},
		{0, "pause", "a", "TestWaits"},
		{1, "run", "a", "TestParent"},
		{1, "run", "a", "TestParent/case"},
		{2, "start", "b", ""},
		{2, "fail", "b", ""},
		{3, "start", "c", ""},
		{10, "run", "c", "TestEnds"},
		{10, "pass", "c", "TestEnds"},
		{20, "run", "c", "TestNew"},
		{20, "run", "c", "TestSame"},
		{11, "run", "c", "TestOld"},
		{30, "cont", "a", "TestWaits"},
		{40, "run", "c", "TestLast"},
	} {
		at := begin.Add(time.Duration(e.second) * time.Second).Format(time.RFC3339)
		line := fmt.Sprintf(`{"Time":%q,"Action":%q,"Package":"example.com/m/%s","Test":%q}`, at, e.action, e.pkg,
			e.tests)
		s.line(strings.Replace(line, `,"Test":""`, "", 1))
	}
	want := "[1m0s] 1 of 3 packages done, 1 failed; a: 0 of 3 tests done, running TestParent/case 59s, TestWaits " +
		"30s; c: 1 of 7 tests done, running TestOld 49s, TestNew 40s, TestSame 40s and 1 more"
	if text := s.progress(begin.Add(time.Minute)); text != want {
		t.Errorf("progress is\n%s\nwant\n%s", text, want)
	}
}

func TestProgressWithoutAPlanCountsWhatItSees(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	s := newState(plan{}, false, begin)
	s.line(`{"Action":"start","Package":"p"}`)
	want := "[1m30s] 0 packages done, 0 failed; p: 0 tests done"
	if text := s.progress(begin.Add(90 * time.Second)); text != want {
		t.Errorf("progress is %q, want %q", text, want)
	}
}
