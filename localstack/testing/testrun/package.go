package testrun

import (
	"strings"
	"time"
)

// pkg is a package whose tests have started.
type pkg struct {
	name       string
	tests      map[string]*test
	roots      []string           // top-level tests in order of start
	families   map[string][]*test // a top-level test and its subtests in order of start
	output     []string           // that belongs to no test
	goroutines []string           // of a package that timed out
	timeout    timeoutPart
	held       strings.Builder // to be printed
	ended      bool
}

// test is a test or a subtest that has started.
type test struct {
	name    string
	since   time.Time // start, or end of the last pause
	outcome string    // empty until it ends
	paused  bool
	output  []string
}

func (p *pkg) take() string {
	defer p.held.Reset()
	return p.held.String()
}

// testOf returns the test of e. With -count a test starts several times.
func (p *pkg) testOf(e event) *test {
	if t := p.tests[e.Test]; t != nil && e.Action != "run" {
		return t
	}
	t := &test{name: e.Test, since: e.Time}
	p.tests[e.Test] = t
	root, _, _ := strings.Cut(e.Test, "/")
	if p.families[root] == nil {
		p.roots = append(p.roots, root)
	}
	p.families[root] = append(p.families[root], t)
	return t
}

func (t *test) apply(e event) {
	switch {
	case e.Action == "pause":
		t.paused = true
	case e.Action == "cont":
		t.paused, t.since = false, e.Time
	case isOutcome(e.Action):
		t.outcome = e.Action
	}
}

func isOutcome(action string) bool {
	return action == "pass" || action == "fail" || action == "skip"
}

// keep stores the output of e until the package has passed or failed.
func (p *pkg) keep(e event) {
	if e.Test == "" {
		p.output = append(p.output, e.Output)
		return
	}
	t := p.testOf(e)
	t.output = append(t.output, e.Output)
}
