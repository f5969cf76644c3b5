package relay_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// polymorphic matches a call of a function of pg_catalog whose arguments are polymorphic, "any" or
// VARIADIC, or that the relay calls with arguments that need an implicit cast, such as quote_ident
// of a name. min and max are such calls for a column of the outbox table, which may have a domain.
var polymorphic = regexp.MustCompile(`(\bpg_catalog\.)?\b(` +
	`any_value|array_[a-z_]+|cardinality|concat|concat_ws|count|first_value|format|generate_subscripts|` +
	`jsonb?_(agg|build_array|build_object|object_agg|populate_record|populate_recordset)|lag|last_value|lead|mode|` +
	`nth_value|num_nonnulls|num_nulls|pg_column_size|pg_typeof|quote_literal|quote_nullable|row_to_json|to_jsonb?|` +
	`trim_array|unnest|width_bucket|` +
	`convert_from|encode|has_[a-z]+_privilege|left|lower|make_interval|md5|octet_length|pg_cancel_backend|` +
	`pg_partition_ancestors|pg_partition_tree|pg_relation_size|pg_stat_get_tuples_updated|quote_ident|replace|` +
	`string_agg|to_char|upper|` +
	`max|min)\(`)

// TestSQLNamesTheSchemaOfFunctions prevents that a function in public, which is in the search path,
// replaces one of pg_catalog: for its exact types Postgres prefers it to a polymorphic one.
// https://www.postgresql.org/docs/current/typeconv-func.html
func TestSQLNamesTheSchemaOfFunctions(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.Contains(path, "/outboxtest/") || // for tests
			strings.HasSuffix(path, "/preflight/addcolumns.go") { // for the operator's session
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
				for _, call := range unqualified(text.Value) {
					t.Errorf("%s: write pg_catalog. before %s", files.Position(text.Pos()), call)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const example = `SELECT count(*), pg_catalog.format('%s', id), format('%s', id), min(e.{seq}), min(position)
		FROM unnest($1, $2), unnest($1::text[])`
	if got := strings.Join(unqualified(example), " "); got != "format( min( unnest(" {
		t.Errorf("found %q in the example", got)
	}
}

// unqualified returns the calls in sql that a function in public could intercept.
func unqualified(sql string) (calls []string) {
	for _, at := range polymorphic.FindAllStringSubmatchIndex(sql, -1) {
		name, rest := sql[at[4]:at[5]], sql[at[1]:]
		switch {
		case at[2] >= 0:
		case name == "count" && strings.HasPrefix(rest, "*"): // it has no arguments
		case name == "unnest" && hasComma(rest): // the grammar resolves it, and accepts no schema
		case (name == "min" || name == "max") && !ofColumn.MatchString(rest):
		default:
			calls = append(calls, sql[at[4]:at[1]])
		}
	}
	return calls
}

// ofColumn matches the argument of a call if it stands for a column of an outbox table.
var ofColumn = regexp.MustCompile("^([a-z]\\.)?[{%`\"]")

// hasComma reports whether the arguments that begin rest are several.
func hasComma(rest string) bool {
	depth := 0
	for _, r := range rest {
		switch {
		case r == '(' || r == '[':
			depth++
		case (r == ')' || r == ']') && depth == 0:
			return false
		case r == ')' || r == ']':
			depth--
		case r == ',' && depth == 0:
			return true
		}
	}
	return false
}
