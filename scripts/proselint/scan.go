package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
)

// scanner reads the text of a file.
type scanner func(path string, text []byte, f *figures) error

// scanners are the scanners by the ending of a file's name.
var scanners = map[string]scanner{
	".go":   scanGo,
	".sql":  scanSQL,
	".md":   scanMarkdown,
	".yaml": scanLines("#"),
	".yml":  scanLines("#"),
	".tf":   scanLines("#"),
	".toml": scanLines("#"),
	".js":   scanLines("//"),
	".json": scanLines(""),
	".html": scanLines(""),
}

// scannerOf returns the scanner of a file, or nil if its text has no rules. Scripts, the Makefile
// and the Dockerfile have no ending.
func scannerOf(path string, text []byte) scanner {
	name := filepath.Base(path)
	if name == "Makefile" || name == "Dockerfile" || bytes.HasPrefix(text, []byte("#!")) {
		return scanLines("#")
	}
	return scanners[filepath.Ext(path)]
}

// scanLines returns a scanner that knows comments by the marker at the begin of their lines.
func scanLines(marker string) scanner {
	return func(path string, text []byte, f *figures) error {
		for i, line := range strings.Split(string(text), "\n") {
			trimmed := strings.TrimSpace(line)
			if marker == "" || !strings.HasPrefix(trimmed, marker) || strings.HasPrefix(trimmed, "#!") {
				f.words(path, i+1, line)
				continue
			}
			f.comment(path, i+1, line)
			if width := columns(line); width > maxComment && !unbreakable(line) {
				f.wideComments = append(f.wideComments, tooWide(path, i+1, width, maxComment, "comment"))
			}
		}
		return nil
	}
}

// released are the files that never change, whatever the rules say.
var released = []string{
	"relay/outbox/migrations/001_outbox.sql", "functions/internal/order/migrations/001_orders.sql",
}

func scanGo(path string, text []byte, f *figures) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse %s: %w", path, err)
	}
	f.declared = declaredFuncs(file)
	defer func() { f.declared = nil }()
	for _, group := range file.Comments {
		for _, c := range group.List {
			first := files.Position(c.Pos()).Line
			for i, line := range strings.Split(c.Text, "\n") {
				if !strings.HasPrefix(line, "//go:") {
					f.comment(path, first+i, line)
				}
			}
		}
	}
	tags := map[int]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			if n.Tag != nil {
				tags[files.Position(n.Tag.Pos()).Line] = true
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING && strings.ContainsAny(n.Value, " \n") { // a single word is a value
				first := files.Position(n.Pos()).Line
				for i, line := range strings.Split(n.Value, "\n") {
					f.words(path, first+i, line)
				}
			}
		}
		return true
	})
	scanWidths(path, text, "//", tags, f)
	return nil
}

func declaredFuncs(file *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			names[f.Name.Name] = true
		}
	}
	return names
}

func scanSQL(path string, text []byte, f *figures) error {
	for i, line := range strings.Split(string(text), "\n") {
		if _, comment, ok := strings.Cut(line, "--"); ok {
			f.comment(path, i+1, comment)
		}
	}
	scanWidths(path, text, "--", nil, f)
	return nil
}

// scanWidths measures every line. A line with nothing but a comment has the limit of comments. A
// line with a struct tag has none, because reflect reads a tag only if it is on one line.
// Statements in SQL files have none either: each text of COMMENT ON is one literal.
func scanWidths(path string, text []byte, marker string, tags map[int]bool, f *figures) {
	for i, line := range strings.Split(string(text), "\n") {
		width := columns(line)
		if strings.HasPrefix(line, "//go:") {
			continue
		}
		if strings.HasPrefix(strings.TrimSpace(line), marker) {
			if width > maxComment && !unbreakable(line) {
				f.wideComments = append(f.wideComments, tooWide(path, i+1, width, maxComment, "comment"))
			}
			continue
		}
		f.codeLines++
		if marker == "//" && width > maxCode && !tags[i+1] {
			f.wideCode = append(f.wideCode, tooWide(path, i+1, width, maxCode, "code"))
		}
	}
}

// scanMarkdown measures prose. Tables and code are as wide as they must be.
func scanMarkdown(path string, text []byte, f *figures) error {
	var fenced bool
	for i, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "```") {
			fenced = !fenced
			continue
		}
		if fenced {
			continue
		}
		f.words(path, i+1, line)
		if width := columns(line); width > maxProse && !strings.HasPrefix(trimmed, "|") && !unbreakable(line) {
			f.wideProse = append(f.wideProse, tooWide(path, i+1, width, maxProse, "prose"))
		}
	}
	return nil
}
