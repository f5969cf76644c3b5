package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func findings(t *testing.T, files fstest.MapFS, pending ...string) (found []string) {
	t.Helper()
	dirs, err := check(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range problems(dirs, pending) {
		found = append(found, fmt.Sprintf("%s:%d", f.path, f.line))
	}
	return found
}

func file(lines ...string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(strings.Join(lines, "\n"))}
}

func TestWideLinesAreFound(t *testing.T) {
	t.Parallel()
	words := strings.Repeat("word ", 30)
	found := findings(t, fstest.MapFS{
		"a.go": file(
			"package a",
			"// "+words,
			"const a = `"+words+"`",
			"type b struct {",
			"\tC int `help:\""+words+"\"`",
			"}",
			"// https://example.com/"+strings.Repeat("x", 100),
			"//go:generate "+words,
		),
		"b.md":           file(words, "", "| "+words+" |", "```", words, "```", "["+strings.Repeat("x", 100)+"]"),
		"c.sql":          file("SELECT 1;", "-- "+words),
		"testdata/d.md":  file(words),
		"e.unknown-kind": file(words),
	})
	if diff := cmp.Diff([]string{"a.go:2", "a.go:3", "b.md:1", "c.sql:2"}, found); diff != "" {
		t.Error(diff)
	}
}

func TestForbiddenWordsAreFound(t *testing.T) {
	t.Parallel()
	for word := range instead {
		found := findings(t, fstest.MapFS{
			"a.go": file(
				"package a",
				"// Before "+word+", after.",
				"var a = `",
				strings.ToUpper(word),
				"`",
				"type b struct{ C int `help:\"No "+word+".\"` }",
			),
			"b.md":  file("A line.", word),
			"c.sql": file("SELECT 1 -- " + word),
			"d.go":  file("package a", "// x"+word+"x"),
		})
		if diff := cmp.Diff([]string{"a.go:2", "a.go:4", "a.go:6", "b.md:2", "c.sql:1"}, found); diff != "" {
			t.Errorf("%s: %s", word, diff)
		}
	}
}

func TestOneCommentLineInAHundredMaySayWhat(t *testing.T) {
	t.Parallel()
	for others, want := range map[int]int{97: 2, 98: 1, 198: 0} {
		text := "package a\n\n// What it is.\n// And what not.\n" + strings.Repeat("// More.\n", others)
		if found := findings(t, fstest.MapFS{"a.go": file(text)}); len(found) != want {
			t.Errorf("2 of %d lines: %v, want %d findings", others+2, found, want)
		}
	}
}

func TestPendingDirectoryHidesItselfAlone(t *testing.T) {
	t.Parallel()
	wide := file(strings.Repeat("word ", 30))
	files := fstest.MapFS{"a/b.md": wide, "a/b/c.md": wide, "d.md": wide}
	if diff := cmp.Diff([]string{"a/b/c.md:1"}, findings(t, files, "a", "d.md")); diff != "" {
		t.Error(diff)
	}
}

func TestPendingPathsExist(t *testing.T) {
	t.Parallel()
	for _, path := range parsePaths(pendingList) {
		if _, err := os.Stat(filepath.Join("..", "..", path)); err != nil {
			t.Errorf("remove it from pending.txt: %v", err)
		}
	}
}
