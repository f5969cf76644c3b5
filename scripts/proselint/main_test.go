package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func findings(t *testing.T, files fstest.MapFS) (found []string) {
	t.Helper()
	dirs, err := check(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range problems(dirs) {
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
		"d.yaml":         file("a: "+words, "  # "+words, "# https://example.com/"+strings.Repeat("x", 100)),
		"Makefile":       file("# " + words),
		"script":         file("#!/bin/sh "+words, "# "+words, words),
		"testdata/d.md":  file(words),
		"e.unknown-kind": file(words),
	})
	if diff := cmp.Diff([]string{
		"Makefile:1", "a.go:2", "a.go:3", "b.md:1", "c.sql:2", "d.yaml:2", "script:2",
	}, found); diff != "" {
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
			"b.md":   file("A line.", word),
			"c.sql":  file("SELECT 1 -- " + word),
			"d.go":   file("package a", "// x"+word+"x"),
			"e.yaml": file("Description: "+word, "# "+word),
			"f.json": file(`{"a": "` + word + `"}`),
		})
		if diff := cmp.Diff([]string{
			"a.go:2", "a.go:4", "a.go:6", "b.md:2", "c.sql:1", "e.yaml:1", "e.yaml:2", "f.json:1",
		}, found); diff != "" {
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
