package preflight_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of findings")

const (
	checkPage  = "../../docs/check.md"
	tableHead  = "<!-- findings: go test ./relay/internal/preflight -update writes this table -->\n\n"
	tableBegin = "| Code | Requirement |\n|---|---|\n"
	tableEnd   = "<!-- end of findings -->"
)

// codes returns the rows of the page's table: each constant of type Code, in the order of files and
// lines.
func codes(t *testing.T) string {
	t.Helper()
	var rows strings.Builder
	for _, file := range sources(t) {
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Code" {
				return true
			}
			name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if spec.Comment == nil {
				t.Fatalf("the code %s has no comment that says what it requires", name)
			}
			requirement := strings.TrimSpace(spec.Comment.Text())
			fmt.Fprintf(&rows, "| `%s` | %s. |\n", name, strings.ToUpper(requirement[:1])+requirement[1:])
			return true
		})
	}
	return rows.String()
}

// sources returns the package without its tests.
func sources(t *testing.T) []*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func TestPageListsEveryCode(t *testing.T) {
	text, err := os.ReadFile(checkPage)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(text), tableHead+tableBegin)
	table, tail, ended := strings.Cut(after, tableEnd)
	if !found || !ended {
		t.Fatal("the page has no table of findings between its comments")
	}
	if *update {
		all := before + tableHead + tableBegin + codes(t) + tableEnd + tail
		if err := os.WriteFile(checkPage, []byte(all), 0o644); err != nil { //nolint:gosec // it is a document
			t.Fatal(err)
		}
		return
	}
	if table != codes(t) {
		t.Errorf("the page's table differs from the package; go test ./relay/internal/preflight -update writes it:\n%s",
			codes(t))
	}
}

// TestFindingsHaveDocumentedCodes: a literal in a constructor would be a code that no table lists.
func TestFindingsHaveDocumentedCodes(t *testing.T) {
	t.Parallel()
	for _, file := range sources(t) {
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			name, ok := call.Fun.(*ast.Ident)
			if literal, isLiteral := call.Args[0].(*ast.BasicLit); ok && isLiteral {
				switch name.Name {
				case "passed", "degraded", "failed", "unknown", "FromError", "FromErrors":
					t.Errorf("%s is called with the code %s, which is no constant", name.Name, literal.Value)
				}
			}
			return true
		})
	}
}
