package preflight

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// kindsOfTables has one text for each table, of every fact in the catalog that the checks of one of
// several tables read. The texts of two tables are equal only if their findings are. A table is of
// its own kind where a check reads more: its partitions, tables that inherit, rules, a row filter,
// or the number of updates.
const kindsOfTables = `
	SELECT coalesce((
		SELECT CASE WHEN c.relkind <> 'r' OR c.relhasrules OR pg_catalog.pg_stat_get_tuples_updated(c.oid) > 0
			OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid))
			OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prrelid = c.oid AND r.prqual IS NOT NULL)
			OR c.oid IS NOT DISTINCT FROM to_regclass('outbox_events')::oid
		THEN NULL ELSE ROW(
			c.relpersistence, c.relreplident, c.relowner, c.relacl, row_security_active(c.oid),
			c.relforcerowsecurity, n.nspowner, n.nspacl,
			ARRAY(
				SELECT ROW(a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef, a.attidentity,
					a.attgenerated, a.attacl, CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END)
				FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
				WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname),
			ARRAY(
				SELECT ROW(a.attname, i.indisunique, i.indisvalid, i.indimmediate, i.indisprimary, i.indisreplident,
					i.indnkeyatts, i.indpred IS NULL, i.indexprs IS NULL, x.relam)
				FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
				LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
				WHERE i.indrelid = c.oid ORDER BY 1),
			ARRAY(
				SELECT ROW(a.attname, s.seqcache, s.seqincrement, s.seqcycle)
				FROM pg_depend o JOIN pg_sequence s ON s.seqrelid = o.objid
				JOIN pg_attribute a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
				WHERE o.refclassid = 'pg_class'::regclass AND o.refobjid = c.oid AND o.classid = 'pg_class'::regclass
				  AND o.deptype = 'i' ORDER BY 1),
			ARRAY(
				SELECT ROW(a.attname, s.seqcache, s.seqincrement, s.seqcycle)
				FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
				JOIN pg_depend o ON o.classid = 'pg_attrdef'::regclass AND o.objid = d.oid
					AND o.refclassid = 'pg_class'::regclass
				JOIN pg_sequence s ON s.seqrelid = o.refobjid
				WHERE d.adrelid = c.oid ORDER BY 1),
			ARRAY(
				SELECT ROW(p.oid, r.oid IS NULL, s.oid IS NULL, ARRAY(
					SELECT a.attname FROM pg_attribute a
					WHERE a.attrelid = c.oid AND a.attnum = ANY (r.prattrs) ORDER BY 1))
				FROM pg_publication p
				LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
				LEFT JOIN pg_publication_namespace s ON s.pnpubid = p.oid AND s.pnnspid = c.relnamespace
				ORDER BY p.oid)
		)::text END
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = t.schema AND c.relname = t.name), '')
	FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (schema, name, n) ORDER BY t.n`

// firstOfKind returns for each table the index of the first table of its kind.
func (d *database) firstOfKind(ctx context.Context, tables []outboxtable.Table) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	schemas, names := make([]string, len(tables)), make([]string, len(tables))
	for i, table := range tables {
		schemas[i], names[i] = table.Schema, table.Name
	}
	rows, err := d.Pool.Query(ctx, kindsOfTables, schemas, names)
	if err != nil {
		return nil, fmt.Errorf("compare the tables: %w", err)
	}
	kinds, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("compare the tables: %w", err)
	}
	first, known := make([]int, len(tables)), map[string]int{}
	for i, kind := range kinds {
		first[i] = i
		if at, isKnown := known[kind]; isKnown {
			first[i] = at
		} else if kind != "" {
			known[kind] = i
		}
	}
	return first, nil
}
