package preflight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// column is a column of the outbox table.
type column struct {
	dataType  string // as in SQL
	base      string // the built-in type below every domain; empty for other types
	notNull   bool   // of the column or its domain
	defaulted bool   // the database has a value for a row without one
	generated string
	// expression computes a generated column.
	expression string
}

// filled reports whether the database gives every row a value.
func (c column) filled() bool { return c.notNull && c.defaulted }

// The values of pg_attribute.attgenerated.
const (
	generatedStored  = "s"
	generatedVirtual = "v"
)

// published tells which tables the publication has, one of which may be meant, or nothing.
func (d *database) published(ctx context.Context) string {
	var tables string
	err := d.Pool.QueryRow(ctx, `
		SELECT coalesce(pg_catalog.string_agg(name, ', '), '')
		FROM (SELECT schemaname::text || '.' || tablename::text AS name FROM pg_publication_tables
			WHERE pubname = $1 ORDER BY name LIMIT 5) AS first`, d.Publication).Scan(&tables)
	if err != nil || tables == "" {
		return ""
	}
	return fmt.Sprintf(" (publication %s has %s)", d.Publication, tables)
}

// outboxTable checks that the table exists and may be read, and reads its columns. It queries the
// catalog by name, because to_regclass fails if the role may not use the schema.
func (d *database) outboxTable(ctx context.Context) Findings {
	if d.Table.Name == "" { // RELAY_TABLE is a finding already
		return nil
	}
	var schema, kind string
	var usable, readable bool
	err := d.Pool.QueryRow(ctx, `
		SELECT pg_catalog.quote_ident(n.nspname), c.oid, c.relkind::text,
		       pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2`,
		d.Table.Schema, d.Table.Name).Scan(&schema, &d.oid, &kind, &usable, &readable)
	fail := func(format string, args ...any) Finding { return failed(CodeTable, d.tableObject(), format, args...) }
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Findings{fail("table %s does not exist: create it with relay migrate, or name yours in RELAY_TABLE%s",
			d.tableName(), d.published(ctx)).
			with("relay migrate")}
	case err != nil:
		return Findings{unknown(CodeTable, d.tableObject(), err)}
	case kind != "r" && kind != "p":
		return Findings{fail("%s is not a table: name the table of the events in RELAY_TABLE", d.tableName())}
	case !usable && !readable:
		return Findings{fail("role %s may neither use schema %s nor read table %s", d.role, schema, d.tableName()).
			with("GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %[2]s;", schema, d.role, d.Table.Identifier())}
	case !usable:
		return Findings{fail("role %s may not use schema %s, so it cannot read table "+
			"%s", d.role, schema, d.tableName()).
			with("GRANT USAGE ON SCHEMA %s TO %s;", schema, d.role)}
	case !readable:
		return Findings{fail("role %s may not read table %s", d.role, d.tableName()).
			with("GRANT SELECT ON %s TO %s;", d.Table.Identifier(), d.role)}
	}
	if kind == "p" {
		if d.leaves, err = d.readLeaves(ctx); err != nil {
			return Findings{unknown(CodeTable, d.tableObject(), err)}
		}
	}
	if d.columns, err = d.readColumns(ctx); err != nil {
		return Findings{unknown(CodeTable, d.tableObject(), err)}
	}
	d.Table = d.Table.Resolve(slices.Collect(maps.Keys(d.columns)))
	return Findings{passed(CodeTable, d.tableObject(), "table %s exists and may be read", d.tableName())}
}

func (d *database) readColumns(ctx context.Context) (map[string]column, error) {
	rows, err := d.Pool.Query(ctx, `
		SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull OR y.typnotnull,
		       a.atthasdef OR a.attidentity <> '',
		       a.attgenerated::text,
		       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(e.adbin, e.adrelid) ELSE '' END,
		       (SELECT CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text ELSE '' END
		        FROM pg_type t WHERE t.oid = `+outboxtable.BaseTypeSQL("a.atttypid")+`)
		FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
		LEFT JOIN pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
		WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped`, d.oid)
	if err != nil {
		return nil, fmt.Errorf("read its columns: %w", err)
	}
	columns := map[string]column{}
	var name string
	var c column
	fields := []any{&name, &c.dataType, &c.notNull, &c.defaulted, &c.generated, &c.expression, &c.base}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		columns[name] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read its columns: %w", err)
	}
	return columns, nil
}

// readLeaves returns the partitions with rows. The result is not nil.
func (d *database) readLeaves(ctx context.Context) ([]string, error) {
	leaves := []string{}
	err := d.Pool.QueryRow(ctx, `
		SELECT coalesce(pg_catalog.array_agg(pg_catalog.format('%I.%I', n.nspname, c.relname) ORDER BY c.oid), '{}')
		FROM pg_catalog.pg_partition_tree($1) t
		JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE t.isleaf`, d.oid).Scan(&leaves)
	if err != nil {
		return nil, fmt.Errorf("read its partitions: %w", err)
	}
	return leaves, nil
}
