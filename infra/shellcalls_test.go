package infra_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// command is one call of aws, sam or a script in a page for operators.
type command struct {
	page  string
	words []string
}

// name returns the words before the first option or argument, such as aws ecs describe-services or
// sam deploy.
func (c command) name() string {
	most := map[string]int{"aws": 3, "sam": 2}[c.words[0]]
	if len(c.words) > 2 && c.words[2] == "wait" {
		most++
	}
	n := 1
	for n < min(most, len(c.words)) && regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(c.words[n]) {
		n++
	}
	return strings.Join(c.words[:n], " ")
}

func (c command) options() (names []string) {
	for _, word := range c.words {
		if name, _, _ := strings.Cut(word, "="); strings.HasPrefix(name, "--") {
			names = append(names, name)
		}
	}
	return names
}

// after returns the words between an option and the next one.
func (c command) after(option string) []string {
	at := slices.Index(c.words, option)
	if at < 0 {
		return nil
	}
	rest := c.words[at+1:]
	if end := slices.IndexFunc(rest, func(w string) bool { return strings.HasPrefix(w, "--") }); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// commands returns all calls in the code blocks and sentences of the pages.
func commands(t *testing.T) (found []command) {
	t.Helper()
	pages, err := filepath.Glob("*.md")
	if err != nil || len(pages) < 3 {
		t.Fatalf("pages %v: %v", pages, err)
	}
	for _, pattern := range []string{"*/*.md", "../*.md", "../relay/docs/*.md"} {
		more, _ := filepath.Glob(pattern) // Glob fails only for an invalid pattern
		pages = append(pages, more...)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range regexp.MustCompile("(?s)```sh\n(.+?)```|`([^`\n]+)`").FindAllStringSubmatch(string(text),
			-1) {
			for _, words := range calls(code[1] + code[2]) {
				found = append(found, command{page, words})
			}
		}
	}
	if len(found) < 40 {
		t.Fatalf("%d commands", len(found))
	}
	return found
}

var shellWord = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|\\\n|[^\s'"#])+|\n|#[^\n]*`)

// calls returns the calls of aws, sam and scripts in shell code.
func calls(code string) (found [][]string) {
	var call []string
	end := func() {
		if len(call) > 0 && (call[0] == "aws" || call[0] == "sam" || strings.HasPrefix(call[0], "scripts/")) {
			found = append(found, call)
		}
		call = nil
	}
	for _, word := range shellWord.FindAllString(strings.ReplaceAll(code, "\\\n", " "), -1) {
		switch {
		case word == "\n", word == "&&", word == "|", word == ";", strings.HasPrefix(word, "#"):
			end()
		default:
			call = append(call, strings.Trim(word, `'"`))
		}
	}
	end()
	return found
}
