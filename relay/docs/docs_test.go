// Package docs_test holds the Markdown pages of the repository to the repository itself.
package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	root           = "../.."
	firstPage      = 150 // lines
	prose          = 100 // columns; a table, a code block or a single long word may be wider
	ownAddress     = "https://github.com/outbox-relay/outbox-relay/blob/main/"
	fence          = "```"
	anchorsOfLines = `^L\d+$`
)

// page is one Markdown file, with its path below the root.
type page struct {
	path  string
	lines []line
}

// line is one line of a page. Code is true inside a fenced block.
type line struct {
	number int
	text   string
	code   bool
}

// pages returns every Markdown file of the repository.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			all = append(all, readPage(t, path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("%d Markdown files, want more", len(all))
	}
	return all
}

func readPage(t *testing.T, path string) page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	p, code := page{path: path}, false
	for i, s := range strings.Split(string(text), "\n") {
		isFence := strings.HasPrefix(strings.TrimSpace(s), fence)
		p.lines = append(p.lines, line{number: i + 1, text: s, code: code || isFence})
		if isFence {
			code = !code
		}
	}
	return p
}

// anchors returns the names that GitHub gives to the headings of a page.
func (p page) anchors() map[string]bool {
	names, seen := map[string]bool{}, map[string]int{}
	for _, l := range p.lines {
		_, heading, isHeading := strings.Cut(l.text, "# ")
		if l.code || !isHeading || strings.Trim(strings.SplitN(l.text, " ", 2)[0], "#") != "" {
			continue
		}
		name := strings.ReplaceAll(regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(strings.ToLower(heading),
			""), " ", "-")
		if n := seen[name]; n > 0 {
			names[fmt.Sprintf("%s-%d", name, n)] = true
		}
		seen[name]++
		names[name] = true
	}
	return names
}

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codeSpan = regexp.MustCompile("`[^`]+`")
)

func TestEveryLinkResolves(t *testing.T) {
	t.Parallel()
	all, anchors, links := pages(t), map[string]map[string]bool{}, 0
	for _, p := range all {
		anchors[p.path] = p.anchors()
	}
	for _, p := range all {
		for _, l := range p.lines {
			if l.code {
				continue
			}
			for _, found := range link.FindAllStringSubmatch(withoutCode(l.text), -1) {
				links++
				if reason := unresolved(p.path, found[1], anchors); reason != "" {
					t.Errorf("%s:%d: link %s: %s", p.path, l.number, found[1], reason)
				}
			}
		}
	}
	if links < 50 {
		t.Errorf("%d links, want more", links)
	}
}

// unresolved returns why a link leads nowhere, or nothing.
func unresolved(from, target string, anchors map[string]map[string]bool) string {
	file, anchor, _ := strings.Cut(target, "#")
	switch own, isOwn := strings.CutPrefix(file, ownAddress); {
	case isOwn:
		file = own
	case strings.Contains(file, "://"):
		return "" // another site
	case file == "":
		file = from
	default:
		file = filepath.Join(filepath.Dir(from), file)
	}
	if _, err := os.Stat(filepath.Join(root, file)); err != nil {
		return "the file does not exist"
	}
	if anchor != "" && !anchors[file][anchor] && !regexp.MustCompile(anchorsOfLines).MatchString(anchor) {
		return "the page has no such heading"
	}
	return ""
}

// withoutCode returns a line without its code spans, which are no Markdown. A span that is the text
// of a link leaves the link.
func withoutCode(text string) string {
	return codeSpan.ReplaceAllString(text, "")
}

// TestFirstPagesStayShort: users and contributors read these two pages to the end.
func TestFirstPagesStayShort(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"README.md", "CONTRIBUTING.md"} {
		if n := len(readPage(t, path).lines) - 1; n > firstPage {
			t.Errorf("%s has %d lines, want at most %d: move the rest to relay/docs", path, n,
				firstPage)
		}
	}
}

// TestPagesNameTheirReader: each page below relay/docs begins with the reader and the questions.
func TestPagesNameTheirReader(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		if filepath.Dir(p.path) == "relay/docs" && !strings.HasPrefix(p.lines[2].text, "For ") {
			t.Errorf("%s:3: %q, want a sentence that begins with For and the reader", p.path, p.lines[2].text)
		}
	}
}

func TestTheIndexLeadsToEveryPage(t *testing.T) {
	t.Parallel()
	const index = "relay/docs/README.md"
	text, err := os.ReadFile(filepath.Join(root, index))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages(t) {
		name, isPage := strings.CutPrefix(p.path, "relay/docs/")
		if isPage && p.path != index && !strings.Contains(name, "/") && !strings.Contains(string(text), "("+name+")") {
			t.Errorf("%s has no link to %s", index, p.path)
		}
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "("+index+")") {
		t.Errorf("README.md has no link to %s", index)
	}
}

func TestProseIsWrapped(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		for _, l := range p.lines {
			words := strings.TrimSpace(l.text)
			isTable := strings.HasPrefix(words, "|") || strings.HasPrefix(words, "<!--")
			oneWord := !strings.Contains(strings.TrimLeft(codeSpan.ReplaceAllString(words, "code"), "-#*0123456789. "),
				" ")
			if l.code || isTable || oneWord {
				continue
			}
			if columns := utf8.RuneCountInString(l.text); columns > prose {
				t.Errorf("%s:%d: %d columns, want at most %d", p.path, l.number, columns, prose)
			}
		}
	}
}

func TestDocumentedTargetsExist(t *testing.T) {
	t.Parallel()
	targets := targetsOfMakefile(t)
	call, calls := regexp.MustCompile(`\bmake ([a-z][a-z-]*)`), 0
	for _, p := range pages(t) {
		for _, l := range p.lines {
			for _, code := range codeOf(l) {
				for _, found := range call.FindAllStringSubmatch(code, -1) {
					calls++
					if !targets[found[1]] {
						t.Errorf("%s:%d: the Makefile has no target %s", p.path, l.number, found[1])
					}
				}
			}
		}
	}
	if calls < 30 {
		t.Errorf("%d calls of make, want more", calls)
	}
}

// targetsOfMakefile returns the targets that make help prints.
func targetsOfMakefile(t *testing.T) map[string]bool {
	t.Helper()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, rule := range regexp.MustCompile(`(?m)^([a-z][a-z- ]*):.* ## `).FindAllStringSubmatch(string(makefile), -1) {
		targets[rule[1]] = true
	}
	return targets
}

// TestShellBlocksRunInCI: make documents runs each shell block of these pages, or a comment says
// why it does not.
func TestShellBlocksRunInCI(t *testing.T) {
	t.Parallel()
	const notRun = "<!-- not run: "
	for _, path := range []string{"README.md", "relay/docs/tutorial.md", "localstack/README.md"} {
		run, before := 0, ""
		for _, l := range readPage(t, path).lines {
			reason, marked := strings.CutPrefix(before, notRun)
			switch {
			case l.text != fence+"sh" && strings.HasPrefix(before, "<!-- not"):
				t.Errorf("%s:%d: the comment above marks no shell block", path, l.number)
			case l.text == fence+"sh" && !marked:
				run++
			case marked && strings.TrimSuffix(reason, " -->") == "":
				t.Errorf("%s:%d: the comment above has no reason", path, l.number)
			}
			before = l.text
		}
		if run < 2 {
			t.Errorf("%s: make documents runs %d shell blocks, want more", path, run)
		}
	}
}

// codeOf returns the code of a line: all of it inside a fenced block, else its code spans.
func codeOf(l line) []string {
	if l.code {
		return []string{l.text}
	}
	return codeSpan.FindAllString(l.text, -1)
}

// recipes returns the lines of CONTRIBUTING.md and extending.md, and the recipes of the chaos
// machine.
func recipes(t *testing.T) []line {
	t.Helper()
	local := readPage(t, "localstack/README.md").lines
	from := slices.IndexFunc(local, func(l line) bool { return l.text == "## Extend the chaos machine" })
	if from < 0 {
		t.Fatal("localstack/README.md has no recipes of the chaos machine")
	}
	length := slices.IndexFunc(local[from+1:], func(l line) bool { return strings.HasPrefix(l.text, "## ") })
	return slices.Concat(readPage(t, "CONTRIBUTING.md").lines, readPage(t, "relay/docs/extending.md").lines,
		local[from:from+1+length])
}

// TestContributingNamesWhatExists: a recipe leads a newcomer from file to file.
func TestContributingNamesWhatExists(t *testing.T) {
	t.Parallel()
	tests, paths := testsOfRepository(t), 0
	for _, l := range recipes(t) {
		for _, word := range strings.Fields(strings.ReplaceAll(strings.Join(codeOf(l), " "), "`", "")) {
			switch {
			case regexp.MustCompile(`^Test[A-Z]\w+$`).MatchString(word) && !hasPrefixIn(tests, word):
				t.Errorf("%q: no test is named %s", l.text, word)
			case isPath(word):
				paths++
				if _, err := os.Stat(filepath.Join(root, strings.TrimSuffix(word, "..."))); err != nil {
					t.Errorf("%q: %s does not exist", l.text, word)
				}
			}
		}
	}
	if paths < 30 {
		t.Errorf("%d paths, want more", paths)
	}
}

// pathOfCode matches two or more names with slashes between them, a file of the root, and the
// directories of the root that pages name.
var pathOfCode = regexp.MustCompile(`^[\w.-]+(/[\w.-]+)+$|^[\w-]+\.(md|yaml|go)$|` +
	`^(functions|infra|localstack|scripts|Makefile)$`)

// isPath reports whether a word of code names a file or a directory of the repository. .local is
// created by the local stack.
func isPath(word string) bool {
	if strings.HasPrefix(word, ".local/") {
		return false
	}
	return pathOfCode.MatchString(word)
}

// hasPrefixIn reports whether a name begins with prefix, as go test -run selects it.
func hasPrefixIn(names map[string]bool, prefix string) bool {
	for name := range names {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
