package testrun

import (
	"regexp"
	"strings"
)

// report returns the output of a package that has ended, in the format of go test without -v. For a
// package that passed it is one line. For a package that failed it is everything that the tests
// printed, and the logs of the tests that failed or did not end.
func (p *pkg) report(outcome string) string {
	var text strings.Builder
	if outcome != "fail" {
		for _, line := range p.output {
			if strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "?   \t") {
				text.WriteString(line)
			}
		}
		return text.String()
	}
	for _, root := range p.roots {
		for _, t := range p.families[root] {
			text.WriteString(t.report())
		}
	}
	for _, line := range p.output {
		text.WriteString(line)
	}
	return text.String()
}

// report prints the verdict first, as go test without -v does, and indents a subtest by the depth
// of its name.
func (t *test) report() string {
	if t.outcome == "pass" || t.outcome == "skip" {
		return strings.Join(printed(t.output), "")
	}
	verdict := "--- UNFINISHED: " + t.name + "\n"
	indent := strings.Repeat("    ", strings.Count(t.name, "/"))
	var rest strings.Builder
	for _, line := range t.output {
		switch {
		case isFrame(line):
		case strings.HasPrefix(line, "--- FAIL: "):
			verdict = line
		case strings.HasPrefix(line, "    "):
			rest.WriteString(indent + line)
		default:
			rest.WriteString(line)
		}
	}
	if t.outcome == "" && rest.Len() == 0 {
		return ""
	}
	return indent + verdict + rest.String()
}

func isFrame(line string) bool {
	return strings.HasPrefix(line, "=== RUN ") || strings.HasPrefix(line, "=== PAUSE ") ||
		strings.HasPrefix(line, "=== CONT ") || strings.HasPrefix(line, "=== NAME ")
}

// logged matches the first line of a test's log, which starts with the position of the call of
// t.Log.
var logged = regexp.MustCompile(`^ {4,}\S+\.go:\d+: `)

// printed returns the lines that did not come from the testing package. They may belong to another
// test: go test attributes a panic or a report of the race detector to the test that wrote last.
func printed(output []string) (lines []string) {
	inLog := false
	for _, line := range output {
		inLog = logged.MatchString(line) || inLog && strings.HasPrefix(line, "        ")
		isVerdict := strings.HasPrefix(line, "--- PASS: ") || strings.HasPrefix(line, "--- SKIP: ")
		if !inLog && !isVerdict && !isFrame(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// timeoutPart is a part of a test program's output at a timeout.
type timeoutPart int

const (
	noTimeout timeoutPart = iota
	runningTests
	goroutines
)

// isGoroutine reports whether a line belongs to the stack traces, hundreds of them, that follow the
// names of the running tests at a timeout.
func (p *pkg) isGoroutine(line string) bool {
	switch {
	case strings.HasPrefix(line, "panic: test timed out after "):
		p.timeout = runningTests
	case p.timeout == runningTests && line == "\n":
		p.timeout = goroutines
		return true
	case p.timeout == goroutines && (strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "exit status ")):
		p.timeout = noTimeout
	}
	return p.timeout == goroutines
}
