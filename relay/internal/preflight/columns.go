package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
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
	settingSequence, settingXID, "RELAY_COLUMN_AGGREGATE_TYPE", "RELAY_COLUMN_AGGREGATE_ID", "RELAY_COLUMN_EVENT_TYPE",
	settingHeaders, settingCreatedAt, outboxtable.SettingTenant,
}

// IsOptional reports whether the setting of a column may be empty.
func IsOptional(setting string) bool { return slices.Contains(optional, setting) }

// mappedColumns checks that every column in the settings exists. If several do not, the settings
// are those of another table, and the proposal names others. Two may be the sequence and the
// transaction id, whose statements a table of events needs.
func (d *database) mappedColumns(context.Context) Findings {
	if d.columns == nil {
		return nil
	}
	var missing Findings
	for _, mapped := range d.Table.Mapped() {
		if _, exists := d.columns[mapped.Column]; !exists {
			missing = append(missing, d.missingColumn(mapped.Setting, mapped.Column))
		}
	}
	switch {
	case len(missing) > proposing:
		return Findings{d.otherTable()}
	case len(missing) > 0:
		return missing
	}
	return Findings{passed(CodeColumns, d.tableObject(), "table %s has the columns %s",
		d.tableName(), strings.Join(d.mapped(), ", "))}
}

func (d *database) otherTable() Finding {
	var missing []string
	for _, mapped := range d.Table.Mapped() {
		if _, exists := d.columns[mapped.Column]; !exists {
			missing = append(missing, fmt.Sprintf("%q (%s)", mapped.Column, mapped.Setting))
		}
	}
	lacks := fmt.Sprintf("table %s has none of the columns %s. It has %s", d.tableName(), strings.Join(missing, ", "),
		strings.Join(slices.Sorted(maps.Keys(d.columns)), ", "))
	if d.isOneOfSeveral {
		return failed(CodeColumns, d.tableObject(), "%s: all tables of RELAY_TABLE have the same settings, so add "+
			"these columns, or remove the table from publication %s", lacks, d.Publication)
	}
	return failed(CodeColumns, d.tableObject(), "%s: relay check proposes the settings that fit", lacks)
}

func (d *database) missingColumn(setting, name string) Finding {
	both := outboxtable.Assignment(setting, "NEW", outboxtable.Names([]string{name}))
	if _, alone := d.Table.Columns.Settings()[setting]; !alone {
		both = outboxtable.Either("NEW", name)
	}
	advice := fmt.Sprintf("change %s (after a renaming, name both columns, as in %s, because rows in the log may "+
		"have the old name)", setting, both)
	switch {
	case setting == settingSequence || setting == settingXID:
		advice += ", or set it to nothing, without the guarantees that need it (relay/docs/table.md)"
	case IsOptional(setting):
		advice += ", or set it to nothing if the table has no such column"
	}
	f := failed(CodeColumns, d.tableObject(), "table %s has no column %q: %s (it has %s)",
		d.tableName(), name, advice, strings.Join(slices.Sorted(maps.Keys(d.columns)), ", "))
	switch setting {
	case settingSequence:
		return f.with("%s", d.addSequence(outboxtable.Quote(name)))
	case settingXID:
		return f.with("%s", d.addXID(outboxtable.Quote(name)))
	}
	return f
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
	for _, mapped := range d.Table.Mapped() {
		setting, name := mapped.Setting, mapped.Column
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
			found = append(found, d.creationTime(ctx, name, c)...)
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
	object, quoted := d.columnObject(name), outboxtable.Quote(name)
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
		return degraded(CodeXID, object, "column %s (RELAY_COLUMN_XID) is %s, so each program fills it in: one that "+
			"writes another value than pg_current_xact_id() hides its events from recovery for a while, or has them "+
			"sent twice", name, c).
			with("ALTER TABLE %s ALTER COLUMN %s SET DEFAULT pg_current_xact_id();", d.Table.Identifier(), quoted)
	}
	return passed(CodeXID, object, "column %s names the writing transaction", name)
}

// textColumn checks a column that is sent as text.
func (d *database) textColumn(binary []outboxtable.BinaryColumn, setting, name string, c column) Finding {
	object := d.columnObject(name)
	i := slices.IndexFunc(binary, func(b outboxtable.BinaryColumn) bool { return b.Column == name })
	switch {
	case i >= 0:
		binary[i].Setting = setting // one of several settings that name the column
		advice := "Make it text or json, or name such a column"
		if setting == settingPayload && !binary[i].Within {
			advice += ", or set RELAY_PAYLOAD_BYTES=base64"
		}
		return failed(CodeText, object, "%s. %s", binary[i].Explanation(), advice).with("%s;", binary[i].Statement())
	case setting == settingPayload && c.base == "bytea":
		return passed(CodeText, object, "column %s is %s, and messages have it in base64", name, c.dataType)
	case setting == settingPayload && c.base == "jsonb":
		return passed(CodeText, object, "column %s is %s: spaces and the order of keys are not those that were "+
			"inserted. A column of json keeps the bytes", name, c.dataType)
	}
	return passed(CodeText, object, "column %s is %s", name, c.dataType)
}

// headersColumn checks that headers can be read, in one of the forms that the router knows.
func (d *database) headersColumn(name string, c column) Finding {
	object := d.columnObject(name)
	switch c.base {
	case "json", "jsonb", "_text", "_varchar", "_bpchar":
		return passed(CodeHeaders, object, "column %s is %s", name, c.dataType)
	case "text", "varchar", "bpchar":
		return passed(CodeHeaders, object, "column %s is %s: each value has to be a JSON object, or an array of "+
			"objects with key and value", name, c.dataType)
	}
	if c.dataType == "hstore" || strings.HasSuffix(c.dataType, ".hstore") {
		return passed(CodeHeaders, object, "column %s is %s", name, c.dataType)
	}
	return failed(CodeHeaders, object, "column %s (RELAY_COLUMN_HEADERS) is %s, in which no headers can be read: make "+
		"it jsonb, json, hstore, text with a JSON object, or text[] with names and values in turn, or set "+
		"RELAY_COLUMN_HEADERS to nothing", name, c.dataType)
}

// creationTime checks the column of creation times: messages have its value as occurred_at, and
// some settings compare it.
func (d *database) creationTime(ctx context.Context, name string, c column) Findings {
	var comparing []string
	if d.Removes {
		comparing = append(comparing, "RELAY_RETENTION")
	}
	if d.StartsSince {
		comparing = append(comparing, "RELAY_START=since:…")
	}
	isTime, settings := c.base == "timestamptz" || c.base == "timestamp", strings.Join(comparing, " and ")
	switch {
	case settings == "" && isTime:
		return nil
	case settings == "":
		return Findings{degraded(CodeCreatedAt, d.columnObject(name), "column %s (RELAY_COLUMN_CREATED_AT) is %s, "+
			"which is no time, so messages have no occurred_at: name a timestamptz column, or set "+
			"RELAY_COLUMN_CREATED_AT to nothing", name, c.dataType)}
	case !isTime:
		return Findings{failed(CodeCreatedAt, d.columnObject(name), "column %s (RELAY_COLUMN_CREATED_AT) is %s, and "+
			"%s needs a time: name a timestamptz column, or unset %[3]s", name, c.dataType, settings)}
	case c.base == "timestamp":
		return d.timeWithoutZone(ctx, name, settings)
	}
	return Findings{passed(CodeCreatedAt, d.columnObject(name), "column %s is %s, which %s compares",
		name, c.dataType, settings)}
}

// timeWithoutZone judges a column of times that every session writes in its own time zone, and that
// the relay reads as UTC. A first start that compares them can miss events for ever. Retention
// removes delivered rows alone, only earlier or later.
func (d *database) timeWithoutZone(ctx context.Context, name, settings string) Findings {
	object := d.columnObject(name)
	const advice = "Give it the zone in which your services write it: the statement has UTC"
	statement := outboxtable.WithTimeZone(d.Table)
	starts, err := d.startsSince(ctx)
	switch {
	case err != nil:
		return Findings{unknown(CodeCreatedAt, object, err)}
	case starts:
		return Findings{failed(CodeCreatedAt, object, "column %s (RELAY_COLUMN_CREATED_AT) has no time zone, so the "+
			"relay cannot tell which events were created since the moment in RELAY_START. %s. Or set "+
			"RELAY_START=table", name, advice).with("%s", statement)}
	case d.Removes:
		return Findings{degraded(CodeCreatedAt, object, "column %s (RELAY_COLUMN_CREATED_AT) has no time zone, and "+
			"the relay reads it as UTC, so RELAY_RETENTION removes delivered rows some hours earlier or later where "+
			"services write another zone. %s", name, advice).with("%s", statement)}
	}
	return Findings{passed(CodeCreatedAt, object, "column %s was compared by %s at the first start", name, settings)}
}

// startsSince reports whether the first start, which compares times, is yet to come.
func (d *database) startsSince(ctx context.Context) (bool, error) {
	if !d.StartsSince {
		return false, nil
	}
	var exists, started bool
	err := d.Pool.QueryRow(ctx, `SELECT to_regclass('relay_checkpoints') IS NOT NULL`).Scan(&exists)
	if err != nil || !exists {
		return true, err
	}
	err = d.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM relay_checkpoints WHERE slot_name = $1)`, d.Slot).
		Scan(&started)
	return !started, err
}

func (d *database) columnObject(name string) string {
	return fmt.Sprintf("column %s.%s", d.tableName(), name)
}

// mapped returns the columns that the relay reads.
func (d *database) mapped() []string {
	var columns []string
	for _, mapped := range d.Table.Mapped() {
		columns = append(columns, mapped.Column)
	}
	slices.Sort(columns)
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
