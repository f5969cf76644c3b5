package preflight

import (
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// addSequence returns the statements that number the rows. No statement rewrites the table, and
// none holds a lock that inserts wait for longer than a change of the catalog takes. New rows get
// numbers from 1 on. Existing rows get the numbers up to -1, a few hundred pages at a time. The
// MINVALUE of the sequence then says how many rows that were: [database.updates] does not count
// them against the services.
func (d *database) addSequence(column string) string {
	table := d.Table.Identifier()
	sequence := outboxtable.Table{Schema: d.Table.Schema, Name: d.Table.Name + "_seq"}.Identifier()
	notNull := outboxtable.Quote(d.Table.Name + "_numbered")
	statements := []string{
		"CREATE SEQUENCE " + sequence,
		"GRANT USAGE ON SEQUENCE " + sequence + " TO PUBLIC", // otherwise roles that insert could no longer
		fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s bigint", table, column),
		fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET DEFAULT nextval(%s)", table, column,
			outboxtable.QuoteLiteral(sequence)),
		fmt.Sprintf("ALTER SEQUENCE %s OWNED BY %s.%s", sequence, table, column),
		"DROP SEQUENCE IF EXISTS pg_temp.old_rows",
		fmt.Sprintf("DO $$ BEGIN EXECUTE format('CREATE TEMPORARY SEQUENCE old_rows MINVALUE -9223372036854775807 "+
			"START %%s', (SELECT -count(*) FROM %s)); END $$", table),
	}
	for _, leaf := range d.tablesWithRows() {
		statements = append(statements, numberRows(leaf, column))
	}
	statements = append(statements,
		"DO $$ BEGIN EXECUTE format('ALTER SEQUENCE %s MINVALUE %s', "+outboxtable.QuoteLiteral(sequence)+
			", (SELECT seqstart - last_value - is_called::int FROM old_rows, pg_sequence "+
			"WHERE seqrelid = 'old_rows'::regclass)); END $$",
		"SELECT pg_stat_force_next_flush()", // for a check that follows at once
		fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID", table, notNull, column),
		fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s", table, notNull),
		fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL", table, column),
		fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", table, notNull))
	return strings.Join(statements, "; ") + "; " + d.uniqueIndex(column)
}

// numberRows returns the statement that numbers the existing rows of a table, in transactions of
// 500 pages. The updated rows may make the table longer, and have a number already.
func numberRows(table, column string) string {
	return fmt.Sprintf("DO $$ DECLARE page bigint := 0; BEGIN "+
		"WHILE page * current_setting('block_size')::bigint < pg_relation_size(%[2]s) LOOP "+
		"UPDATE %[1]s SET %[3]s = nextval('old_rows') WHERE %[3]s IS NULL AND ctid >= format('(%%s,0)', page)::tid "+
		"AND ctid < format('(%%s,0)', page + 500)::tid; COMMIT; page := page + 500; END LOOP; END $$",
		table, outboxtable.QuoteLiteral(table), column)
}

// tablesWithRows returns the partitions, or the table.
func (d *database) tablesWithRows() []string {
	if d.leaves != nil {
		return d.leaves
	}
	return []string{d.Table.Identifier()}
}

// uniqueIndex returns the statements that create a unique index on a column. A unique index of a
// partitioned table would have to include the partition key, so each partition gets its own index.
func (d *database) uniqueIndex(column string) string {
	var statements []string
	for _, table := range d.tablesWithRows() {
		statements = append(statements, fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s);", table, column))
	}
	return strings.Join(statements, " ")
}

// addXID returns the statements that add the writing transaction without rewriting the table.
// Existing rows get the first transaction id of every cluster, so they count as committed before
// any snapshot.
func (d *database) addXID(column string) string {
	concurrently := "CONCURRENTLY "
	if d.leaves != nil { // Postgres creates an index of a partitioned table only under a lock
		concurrently = ""
	}
	return fmt.Sprintf("BEGIN; ALTER TABLE %[1]s ADD COLUMN %[2]s xid8 NOT NULL DEFAULT '3'; ALTER TABLE %[1]s "+
		"ALTER COLUMN %[2]s SET DEFAULT pg_current_xact_id(); COMMIT; CREATE INDEX %[3]sON %[1]s (%[2]s);",
		d.Table.Identifier(), column, concurrently)
}
