package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDesignNamesWhatExists: an invariant is as good as its test, which may get another name.
func TestDesignNamesWhatExists(t *testing.T) {
	t.Parallel()
	tests := testsOfRepository(t)
	if len(tests) < 500 {
		t.Fatalf("%d tests, want more", len(tests))
	}
	for _, name := range spansOf(readPage(t, "relay/DESIGN.md")) {
		if regexp.MustCompile(`^Test[A-Z]\w+$`).MatchString(name) && !tests[name] {
			t.Errorf("there is no test %s", name)
		}
		isPath := regexp.MustCompile(`^(internal|postgres|outbox|cmd)/[a-z/]+$|^[a-z_/]+\.go$`).MatchString(name)
		if isPath && !existsBelow(name, "relay", "relay/internal", ".") {
			t.Errorf("there is no file or package %s", name)
		}
	}
}

// spansOf returns the code spans of a page.
func spansOf(p page) []string {
	var spans []string
	for _, l := range p.lines {
		if !l.code {
			spans = append(spans, codeSpan.FindAllString(l.text, -1)...)
		}
	}
	for i, span := range spans {
		spans[i] = strings.Trim(span, "`")
	}
	return spans
}

// testsOfRepository returns the names of all tests.
func testsOfRepository(t *testing.T) map[string]bool {
	t.Helper()
	declaration, tests := regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(`), map[string]bool{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		for _, found := range declaration.FindAllStringSubmatch(string(text), -1) {
			tests[found[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

func existsBelow(path string, folders ...string) bool {
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join(root, folder, path)); err == nil {
			return true
		}
	}
	return false
}
