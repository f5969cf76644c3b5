package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// numberedTable is the outbox table or a partition, with the sequence of a column.
type numberedTable struct {
	name     string // quoted
	identity bool
	sequence string // quoted; empty if the column has none
}

// numberedTables lists them from the top of the tree.
const numberedTables = `
	WITH RECURSIVE tree AS (
		SELECT c.oid, c.relkind, 0 AS depth FROM pg_class c WHERE c.oid = to_regclass($1)
		UNION ALL
		SELECT c.oid, c.relkind, t.depth + 1 FROM tree t
		JOIN pg_inherits i ON i.inhparent = t.oid JOIN pg_class c ON c.oid = i.inhrelid WHERE t.relkind = 'p'
	)
	SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), a.attidentity <> '', coalesce((
		SELECT pg_catalog.format('%I.%I', sn.nspname, s.relname)
		FROM pg_depend d LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
		JOIN pg_class s ON s.relkind = 'S'
			AND s.oid = CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid ELSE d.refobjid END
		JOIN pg_namespace sn ON sn.oid = s.relnamespace
		WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'i' AND d.refclassid = 'pg_class'::regclass
		      AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
		   OR d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
		LIMIT 1), '')
	FROM tree t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = $2
	ORDER BY t.depth, t.oid`

// oneSequence returns the statements after which the table and its partitions take a column from
// one sequence, which continues above every existing value. It is the first existing sequence that
// does not belong to an identity, or else a new one. The statements are one transaction, under the
// lock that ALTER TABLE needs: an INSERT waits for all of them, and a lock that grows could end in
// a deadlock.
func (d *database) oneSequence(ctx context.Context, column string) (string, error) {
	rows, err := d.Pool.Query(ctx, numberedTables, d.Table.Identifier(), column)
	if err != nil {
		return "", fmt.Errorf("look for the sequences of its partitions: %w", err)
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t numberedTable, err error) {
		err = row.Scan(&t.name, &t.identity, &t.sequence)
		return t, err
	})
	if err != nil {
		return "", fmt.Errorf("look for the sequences of its partitions: %w", err)
	}
	statements := []string{"BEGIN", "LOCK TABLE " + d.Table.Identifier() + " IN ACCESS EXCLUSIVE MODE"}
	sequence := outboxtable.Table{Schema: d.Table.Schema, Name: d.Table.Name + "_numbers"}.Identifier()
	if i := slices.IndexFunc(tables, func(t numberedTable) bool { return !t.identity && t.sequence != "" }); i >= 0 {
		sequence = tables[i].sequence
	} else {
		statements = append(statements, "CREATE SEQUENCE "+sequence)
	}
	quoted, literal := outboxtable.Quote(column), outboxtable.QuoteLiteral(sequence)
	statements = append(statements, fmt.Sprintf("SELECT setval(%s, greatest(pg_catalog.max(%s), %s)) FROM %s",
		literal, quoted, lastValues(sequence, tables), d.Table.Identifier()))
	for _, t := range tables {
		if t.identity {
			statements = append(statements, fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP IDENTITY", t.name, quoted))
		}
	}
	statements = append(statements, // every partition inherits the table's default
		fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET DEFAULT nextval(%s)", d.Table.Identifier(), quoted, literal),
		"COMMIT")
	return strings.Join(statements, "; ") + ";", nil
}

// lastValues returns the expressions of the last values of all sequences, which may be above those
// in the rows: the last rows may be removed, and a service may use a value later.
func lastValues(sequence string, tables []numberedTable) string {
	names := []string{sequence}
	for _, t := range tables {
		if t.sequence != "" && !slices.Contains(names, t.sequence) {
			names = append(names, t.sequence)
		}
	}
	for i, name := range names {
		names[i] = "(SELECT last_value FROM " + name + ")"
	}
	return strings.Join(names, ", ")
}
