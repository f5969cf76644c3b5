package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
)

// The settings of the columns that a check handles individually.
const (
	settingID        = "RELAY_COLUMN_ID"
	settingSequence  = "RELAY_COLUMN_SEQUENCE"
	settingXID       = "RELAY_COLUMN_XID"
	settingPayload   = "RELAY_COLUMN_PAYLOAD"
	settingHeaders   = "RELAY_COLUMN_HEADERS"
	settingCreatedAt = "RELAY_COLUMN_CREATED_AT"
)

// optional are the settings that may be empty if the table has no such column.
var optional = []string{
	"RELAY_COLUMN_AGGREGATE_TYPE", "RELAY_COLUMN_AGGREGATE_ID", settingHeaders, settingCreatedAt,
	pgoutput.SettingTenant,
}

// IsOptional reports whether the setting of a column may be empty.
func IsOptional(setting string) bool { return slices.Contains(optional, setting) }

// mappedColumns checks that every column in the settings exists.
func (d *database) mappedColumns(context.Context) Findings {
	if d.columns == nil {
		return nil
	}
	var missing Findings
	settings := d.Table.Columns.Settings()
	for _, setting := range slices.Sorted(maps.Keys(settings)) {
		name := settings[setting]
		if _, exists := d.columns[name]; !exists && name != "" {
			missing = append(missing, d.missingColumn(setting, name))
		}
	}
	if len(missing) > 0 {
		return missing
	}
	return Findings{passed(CodeColumns, d.tableObject(), "table %s has the columns %s",
		d.tableName(), strings.Join(d.mapped(), ", "))}
}

func (d *database) missingColumn(setting, name string) Finding {
	advice := fmt.Sprintf("change %s (after a renaming, name both columns, as in %s, because rows in the log may "+
		"have the old name)", setting, pgoutput.Assignment(setting, "NEW", pgoutput.Names([]string{name})))
	if IsOptional(setting) {
		advice += ", or set it to nothing if the table has no such column"
	}
	f := failed(CodeColumns, d.tableObject(), "table %s has no column %q: %s (it has %s)",
		d.tableName(), name, advice, strings.Join(slices.Sorted(maps.Keys(d.columns)), ", "))
	switch setting {
	case settingSequence:
		return f.with("%s", d.addSequence(pgoutput.Quote(name)))
	case settingXID:
		return f.with("%s", d.addXID(pgoutput.Quote(name)))
	}
	return f
}

// partitionedIdentity is the first version that can add an identity column to a partitioned table.
// https://www.postgresql.org/docs/17/release-17.html
const partitionedIdentity = 17

// addSequence returns the statements that number the rows.
func (d *database) addSequence(column string) string {
	if d.leaves == nil || d.version >= partitionedIdentity {
		return fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s bigint GENERATED ALWAYS AS IDENTITY; %s",
			d.Table.Identifier(), column, d.uniqueIndex(column))
	}
	sequence := pgoutput.Table{Schema: d.Table.Schema, Name: d.Table.Name + "_seq"}.Identifier()
	return fmt.Sprintf("CREATE SEQUENCE %s; "+
		"ALTER TABLE %s ADD COLUMN %s bigint NOT NULL DEFAULT nextval('%[1]s'); %[4]s",
		sequence, d.Table.Identifier(), column, d.uniqueIndex(column))
}

// uniqueIndex returns the statements that create a unique index on a column. A unique index of a
// partitioned table would have to include the partition key, so each partition gets its own index.
func (d *database) uniqueIndex(column string) string {
	tables := d.leaves
	if tables == nil {
		tables = []string{d.Table.Identifier()}
	}
	var statements []string
	for _, table := range tables {
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

// columnTypes checks the columns that need a certain type. Recovery pages by the sequence, and
// would skip a row without one. It also compares the transaction id. The other columns are sent as
// text.
func (d *database) columnTypes(ctx context.Context) Findings {
	if d.columns == nil {
		return nil
	}
	binary, err := outboxtable.FindBinaryColumns(ctx, d.Pool, d.Table)
	if err != nil {
		return Findings{unknown(CodeText, d.tableObject(), err)}
	}
	var found Findings
	settings := d.Table.Columns.Settings()
	for _, setting := range slices.Sorted(maps.Keys(settings)) {
		name := settings[setting]
		c, exists := d.columns[name]
		if !exists { // mappedColumns has found it
			continue
		}
		switch setting {
		case settingSequence:
			found = append(found, d.sequenceColumn(name, c))
		case settingXID:
			found = append(found, d.xidColumn(name, c))
		case settingHeaders:
			found = append(found, d.headersColumn(name, c))
		case settingCreatedAt:
			found = append(found, d.creationTime(name, c)...)
		default:
			found = append(found, d.textColumn(binary, setting, name, c))
		}
	}
	return found
}

func (d *database) sequenceColumn(name string, c column) Finding {
	object := d.columnObject(name)
	if c.base != "int8" && c.base != "int4" || !c.filled() {
		return failed(CodeSequence, object, "column %s (RELAY_COLUMN_SEQUENCE) is %s, and the database must number "+
			"every row: make it bigint GENERATED ALWAYS AS IDENTITY, or name such a column", name, c)
	}
	return passed(CodeSequence, object, "column %s is %s and numbers the rows", name, c.dataType)
}

func (d *database) xidColumn(name string, c column) Finding {
	object, quoted := d.columnObject(name), pgoutput.Quote(name)
	f := failed(CodeXID, object, "column %s (RELAY_COLUMN_XID) is %s, and the database must fill it in every row: "+
		"make it xid8 NOT NULL DEFAULT pg_current_xact_id()", name, c)
	switch {
	case c.base != "xid8":
		return f
	// '3' is the first transaction id of every cluster: the row counts as committed before any
	// snapshot.
	case !c.notNull:
		return f.with("ALTER TABLE %[1]s ALTER COLUMN %[2]s SET DEFAULT pg_current_xact_id(); "+
			"UPDATE %[1]s SET %[2]s = '3' WHERE %[2]s IS NULL; ALTER TABLE %[1]s ALTER COLUMN %[2]s SET NOT NULL;",
			d.Table.Identifier(), quoted)
	case !c.defaulted:
		return f.with("ALTER TABLE %s ALTER COLUMN %s SET DEFAULT pg_current_xact_id();", d.Table.Identifier(), quoted)
	}
	return passed(CodeXID, object, "column %s names the writing transaction", name)
}

// textColumn checks a column that is sent as text.
func (d *database) textColumn(binary []outboxtable.BinaryColumn, setting, name string, c column) Finding {
	object := d.columnObject(name)
	i := slices.IndexFunc(binary, func(b outboxtable.BinaryColumn) bool { return b.Column == name })
	if i < 0 {
		return passed(CodeText, object, "column %s is %s", name, c.dataType)
	}
	binary[i].Setting = setting // one of several settings that name the column
	return failed(CodeText, object, "%s. Make it text or json, or name such a column", binary[i].Explanation()).
		with("%s;", binary[i].Statement())
}

// headersColumn checks that the headers can be a JSON object.
func (d *database) headersColumn(name string, c column) Finding {
	object := d.columnObject(name)
	switch c.base {
	case "json", "jsonb":
		return passed(CodeHeaders, object, "column %s is %s", name, c.dataType)
	case "text", "varchar", "bpchar":
		return passed(CodeHeaders, object, "column %s is %s: each value has to be a JSON object", name, c.dataType)
	}
	return degraded(CodeHeaders, object, "column %s (RELAY_COLUMN_HEADERS) is %s and cannot be a JSON object, so "+
		"every header is dropped: make it jsonb, or set RELAY_COLUMN_HEADERS to nothing", name, c.dataType)
}

// creationTime checks the column of creation times, if a setting compares it.
func (d *database) creationTime(name string, c column) Findings {
	var comparing []string
	if d.Removes {
		comparing = append(comparing, "RELAY_RETENTION")
	}
	if d.StartsSince {
		comparing = append(comparing, "RELAY_START=since:…")
	}
	if len(comparing) == 0 {
		return nil
	}
	settings := strings.Join(comparing, " and ")
	if c.base != "timestamptz" && c.base != "timestamp" {
		return Findings{failed(CodeCreatedAt, d.columnObject(name), "column %s (RELAY_COLUMN_CREATED_AT) is %s, and "+
			"%s needs a time: name a timestamptz column, or unset %[3]s", name, c.dataType, settings)}
	}
	return Findings{passed(CodeCreatedAt, d.columnObject(name), "column %s is %s, which %s compares",
		name, c.dataType, settings)}
}

func (d *database) columnObject(name string) string {
	return fmt.Sprintf("column %s.%s", d.tableName(), name)
}

// mapped returns the columns that the relay reads.
func (d *database) mapped() []string {
	var columns []string
	for _, name := range slices.Sorted(maps.Values(d.Table.Columns.Settings())) {
		if name != "" {
			columns = append(columns, name)
		}
	}
	return slices.Compact(columns)
}

// String describes the column by its definition.
func (c column) String() string {
	text := c.dataType
	if !c.notNull {
		text += ", nullable"
	}
	if !c.defaulted {
		text += ", without a default"
	}
	return text
}
