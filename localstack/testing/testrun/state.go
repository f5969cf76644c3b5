package testrun

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// state is the state of a run of go test.
type state struct {
	plan    plan
	verbose bool // print output immediately
	begin   time.Time
	pkgs    map[string]*pkg
	order   []*pkg // in order of start
	shown   int    // index in order: the packages before it are printed
	done    int
	failed  int
}

func newState(p plan, verbose bool, begin time.Time) *state {
	return &state{plan: p, verbose: verbose, begin: begin, pkgs: map[string]*pkg{}}
}

// line processes one line of go test's output and returns the text to print for it.
func (s *state) line(line string) string {
	e, ok := parse(line)
	switch {
	case !ok:
		return line + "\n"
	case e.Action == "build-output":
		return e.Output
	case e.Package == "":
		return ""
	}
	p := s.pkgOf(e.Package)
	s.apply(p, e)
	if s.verbose {
		return s.next()
	}
	return p.take()
}

func (s *state) pkgOf(name string) *pkg {
	if s.pkgs[name] == nil {
		s.pkgs[name] = &pkg{name: name, tests: map[string]*test{}, families: map[string][]*test{}}
		s.order = append(s.order, s.pkgs[name])
	}
	return s.pkgs[name]
}

func (s *state) apply(p *pkg, e event) {
	switch {
	case e.Action == "output":
		if p.isGoroutine(e.Output) {
			p.goroutines = append(p.goroutines, e.Output)
			return
		}
		if s.verbose {
			p.held.WriteString(e.Output)
		} else {
			p.keep(e)
		}
	case e.Test != "":
		p.testOf(e).apply(e)
	case isOutcome(e.Action):
		s.finish(p, e.Action)
	}
}

func (s *state) finish(p *pkg, outcome string) {
	p.ended = true
	s.done++
	if outcome == "fail" {
		s.failed++
	}
	if !s.verbose {
		p.held.WriteString(p.report(outcome))
	}
	p.tests, p.roots, p.families = nil, nil, nil // no longer needed
}

// next returns the printable output in verbose mode. Verbose output appears immediately, so only
// one package prints at a time. The output of the others is held back until that package has ended.
func (s *state) next() string {
	var text strings.Builder
	for ; s.shown < len(s.order); s.shown++ {
		p := s.order[s.shown]
		text.WriteString(p.take())
		if !p.ended {
			break
		}
	}
	return text.String()
}

// end returns the remaining output after go test has ended, and go test's own last line.
func (s *state) end() string {
	var text strings.Builder
	for _, p := range s.order {
		text.WriteString(p.take())
		if !p.ended && !s.verbose { // go test was interrupted
			text.WriteString(p.report("fail"))
		}
	}
	if s.failed > 0 {
		text.WriteString("FAIL\n")
	}
	return text.String()
}

// short is the path of a package inside the module.
func (s *state) short(name string) string {
	if name == s.plan.module {
		return path.Base(name)
	}
	return strings.TrimPrefix(name, s.plan.module+"/")
}

// progress returns one line: the number of finished packages, the running tests, and the elapsed
// time.
func (s *state) progress(now time.Time) string {
	of := ""
	if len(s.plan.tests) > 0 {
		of = fmt.Sprintf(" of %d", len(s.plan.tests))
	}
	text := fmt.Sprintf("[%s] %d%s packages done, %d failed", now.Sub(s.begin).Round(time.Second), s.done, of, s.failed)
	for _, p := range s.order {
		if !p.ended {
			text += "; " + s.short(p.name) + ": " + p.progress(s.plan.tests[p.name], now)
		}
	}
	return text
}
