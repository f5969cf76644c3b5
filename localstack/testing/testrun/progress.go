package testrun

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// named is the number of running tests that a line of progress names for a package: those that run
// longest.
const named = 3

// progress describes how many tests of p have ended, out of all if the number is known, and names
// running tests.
func (p *pkg) progress(all int, now time.Time) string {
	text := fmt.Sprintf("%d tests done", p.countDone())
	if all > 0 {
		text = fmt.Sprintf("%d of %d tests done", p.countDone(), all)
	}
	running := p.running()
	for i, t := range running[:min(named, len(running))] {
		separator := ", "
		if i == 0 {
			separator = ", running "
		}
		text += fmt.Sprintf("%s%s %s", separator, t.name, now.Sub(t.since).Round(time.Second))
	}
	if more := len(running) - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// countDone counts top-level tests, because the number of subtests is unknown before they run.
func (p *pkg) countDone() (done int) {
	for root, family := range p.families {
		for _, t := range family {
			if t.name == root && t.outcome != "" {
				done++
			}
		}
	}
	return done
}

// running returns the running tests in order of start. It omits a test that waits for its own
// subtests.
func (p *pkg) running() []*test {
	var running []*test
	for _, family := range p.families {
		for i, t := range family {
			waits := slices.ContainsFunc(family[i+1:], func(other *test) bool {
				return strings.HasPrefix(other.name, t.name+"/") && other.outcome == ""
			})
			if t.outcome == "" && !t.paused && !waits {
				running = append(running, t)
			}
		}
	}
	slices.SortFunc(running, func(a, b *test) int {
		if order := a.since.Compare(b.since); order != 0 {
			return order
		}
		return strings.Compare(a.name, b.name)
	})
	return running
}
