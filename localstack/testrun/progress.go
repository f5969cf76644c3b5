package testrun

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// named is how many running tests of a package a line of progress names: those that have run
// longest.
const named = 3

// progress says how many tests of p have ended, of all where that is known, and which run.
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

// countDone counts top-level tests: how many subtests there will be is not known before they run.
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

// running returns the tests that run, those first that have run longest. A test that waits for its
// own subtests is left to them.
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
