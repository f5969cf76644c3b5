package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// checkSeveral checks each of several tables like a single one. It reports the findings that are
// not OK, and one that says how many tables pass.
func (d *database) checkSeveral(ctx context.Context, progress Progress) Findings {
	tables, found := d.severalTables(ctx)
	missing := len(found)
	found = merged(append(found, d.problemsOf(ctx, tables)...))
	if missing == 0 && found.Err() == nil {
		found = append(found, passed(CodeTable, "tables "+d.tableName(), "%s of %s can be relayed: the other "+
			"findings name those that lack something", span.Count(len(tables), "table"), d.tableName()))
	}
	if progress.Found != nil {
		for _, finding := range found {
			progress.Found(finding)
		}
	}
	return found
}

// problemsOf returns the problems of tables, in their order. It checks one table of each kind: the
// findings of the others are the same. Where that table has an error, each one of its kind is
// checked, so that an error names its table.
func (d *database) problemsOf(ctx context.Context, tables []outboxtable.Table) Findings {
	first, err := d.firstOfKind(ctx, tables)
	if err != nil {
		return Findings{unknown(CodeTable, "tables "+d.tableName(), err)}
	}
	all, checked := make([]Findings, len(tables)), make([]*database, len(tables))
	for i, table := range tables {
		checked[i] = &database{Database: d.Database, role: d.role, version: d.version, isOneOfSeveral: true}
		checked[i].Table = table
	}
	atOnce(len(tables), func(i int) {
		if first[i] == i {
			all[i] = checked[i].problems(ctx)
		}
	})
	atOnce(len(tables), func(i int) {
		switch of := first[i]; {
		case of == i:
		case all[of].Err() != nil:
			all[i] = checked[i].problems(ctx)
		default:
			all[i] = append(slices.Clone(all[of]), checked[i].rowsLike(ctx, checked[of])...)
		}
	})
	return slices.Concat(all...)
}

// tablesAtOnce is how many tables are checked at the same time. Most of a check is the way to the
// server.
const tablesAtOnce = 6

// atOnce calls do for each index below n.
func atOnce(n int, do func(i int)) {
	var group errgroup.Group
	group.SetLimit(tablesAtOnce)
	for i := range n {
		group.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = group.Wait() // do returns no error
}

// rowsLike checks the rows of a table that is of the same kind as another one.
func (d *database) rowsLike(ctx context.Context, other *database) Findings {
	d.columns, d.Table = other.columns, d.Table.Resolve(other.Table.Existing)
	return Requirement{d.tableObject(), d.seqRange}.Run(ctx, Progress{})
}

// problems returns the findings of one of several tables that are not OK.
func (d *database) problems(ctx context.Context) (found Findings) {
	for _, r := range d.ofTable() {
		for _, finding := range r.Run(ctx, Progress{}) {
			if finding.Level != OK {
				found = append(found, finding)
			}
		}
		if d.columns == nil { // the table cannot be read
			return found
		}
	}
	return found
}

// ofTable are the requirements of one of several tables.
func (d *database) ofTable() []Requirement {
	table := "table " + d.tableName()
	return []Requirement{
		{table, d.outboxTable},
		{table, d.mappedColumns},
		{table, d.columnTypes},
		{table, d.uniqueID},
		{table, d.nullableID},
		{table, d.numberedID},
		{table, d.ordered},
		{table, d.seqRange},
		{table, d.guarantees},
		{table, d.logged},
		{table, d.rowSecurity},
		{"publication " + d.Publication, d.publication},
		{"publication " + d.Publication, d.generatedColumns},
		{table, d.replicaIdentity},
		{table, d.updates},
		{table, d.retention},
		{table, d.deferral},
	}
}

// severalTables returns the tables to check: each that is named, and those that match a pattern and
// that the publication has. It finds those that it does not have.
func (d *database) severalTables(ctx context.Context) (tables []outboxtable.Table, found Findings) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	existing, err := d.matching(ctx)
	if err != nil {
		return nil, Findings{unknown(CodeTable, "tables "+d.tableName(), err)}
	}
	named := map[string]bool{}
	for _, p := range d.Table.Several.Patterns {
		if p.IsName() {
			named[p.String()] = true
			tables = append(tables, d.Table.One(p.Schema[0], p.Name, 0))
		}
	}
	for _, e := range existing {
		one := d.Table.One(e.schema, e.name, 0)
		switch {
		case named[one.String()]:
		case e.isPublished:
			tables = append(tables, one)
		default:
			found = append(found, degraded(CodePublication, "table "+one.String(), "table %s matches %s, and "+
				"publication %s does not have it: its events are not delivered until it does",
				one, d.tableName(), d.Publication).
				with("ALTER PUBLICATION %s ADD TABLE %s;", outboxtable.Quote(d.Publication), one.Identifier()))
		}
	}
	if len(tables) == 0 {
		found = append(found, degraded(CodeTable, "tables "+d.tableName(), "no table of publication %s matches %s: "+
			"the relay waits for the first", d.Publication, d.tableName()))
	}
	return tables, found
}

type matchingTable struct {
	schema, name string
	isPublished  bool
}

// matching returns the tables that match RELAY_TABLE.
func (d *database) matching(ctx context.Context) ([]matchingTable, error) {
	rows, err := d.Pool.Query(ctx, `
		SELECT n.nspname, c.relname, EXISTS (
			SELECT FROM pg_publication p
			LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
			LEFT JOIN pg_publication_namespace s ON s.pnpubid = p.oid AND s.pnnspid = n.oid
			WHERE p.pubname = $1 AND (p.puballtables OR r.oid IS NOT NULL OR s.oid IS NOT NULL))
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = ANY ($2) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
		ORDER BY 1, 2`, d.Publication, d.Table.Several.TableNames())
	if err != nil {
		return nil, err
	}
	var all []matchingTable
	var t matchingTable
	_, err = pgx.ForEachRow(rows, []any{&t.schema, &t.name, &t.isPublished}, func() error {
		if d.Table.Has(t.schema, t.name) {
			all = append(all, t)
		}
		return nil
	})
	return all, err
}

// seqRange checks that the seqs of one of several tables leave room for the number of the table.
func (d *database) seqRange(ctx context.Context) Findings {
	if d.Table.Columns.Sequence == "" || d.lacking() > 0 {
		return nil
	}
	var low, high int64
	column := outboxtable.Quote(d.Table.Columns.Sequence)
	err := d.Pool.QueryRow(ctx, `
		SELECT coalesce(pg_catalog.min(`+column+`), 0)::bigint, coalesce(pg_catalog.max(`+column+`), 0)::bigint
		FROM `+d.Table.Identifier()).Scan(&low, &high)
	source := &outbox.Source{Table: d.tableName()} // whatever its number is
	for _, seq := range []int64{low, high} {
		if _, outside := source.Common(seq); err == nil && outside != nil {
			return Findings{failed(CodeOrder, d.tableObject(), "%v: the relay cannot tell the rows of several tables "+
				"apart beyond that. Relay the table with a slot of its own", outside)}
		}
	}
	return FromErrors(CodeOrder, d.tableObject(), err)
}

// merged reports a finding that several tables have in common once, for the first of them.
func merged(all Findings) (merged Findings) {
	first, others := map[string]int{}, map[int]int{}
	for _, finding := range all {
		table := strings.TrimPrefix(finding.Object, "table ")
		key := string(finding.Level) + string(finding.Code) + strings.ReplaceAll(finding.Explanation, table, "")
		if at, known := first[key]; known && finding.Level != Error {
			others[at]++
			continue
		}
		first[key] = len(merged)
		merged = append(merged, finding)
	}
	for at, n := range others {
		merged[at].Explanation += fmt.Sprintf(" (and %s)", span.Count(n, "other table"))
	}
	return merged
}

// CheckTables returns the error with which the relay ends if one of several tables that came while
// it ran lacks something.
func (d Database) CheckTables(ctx context.Context, pool *pgxpool.Pool, came outboxtable.Table) error {
	facts := &database{Database: d}
	soon, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := pool.QueryRow(soon, `
		SELECT pg_catalog.quote_ident(current_user), current_setting('server_version_num')::integer / 10000`).
		Scan(&facts.role, &facts.version)
	if err != nil {
		return fmt.Errorf("read the role of the relay: %w", err)
	}
	facts.Pool = pool
	found := facts.problemsOf(ctx, came.Each())
	if err := found.Err(); err != nil && !OnlyTransient(err) {
		return operator.Needed("%v", err)
	}
	return found.Err()
}
