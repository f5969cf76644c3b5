package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// mappedColumns checks the columns that the settings name.
func (d *database) mappedColumns(context.Context) Findings {
	if d.columns == nil {
		return nil
	}
	if missing := d.missingColumns(); len(missing) > 0 {
		return missing
	}
	return append(Findings{passed(CodeColumns, d.tableObject(), "table %s has the columns %s", d.tableName(), strings.Join(d.mapped(), ", "))},
		d.columnTypes()...)
}

func (d *database) missingColumns() Findings {
	var missing Findings
	settings := d.Table.Columns.Settings()
	for _, setting := range slices.Sorted(maps.Keys(settings)) {
		name := settings[setting]
		if _, exists := d.columns[name]; !exists && name != "" {
			missing = append(missing, failed(CodeColumns, d.tableObject(), "table %s has no column %q: name the right one in %s, or set that "+
				"to nothing if the table needs none (it has %s)", d.tableName(), name, setting,
				strings.Join(slices.Sorted(maps.Keys(d.columns)), ", ")))
		}
	}
	return missing
}

// columnTypes checks the columns that must be of a kind: recovery pages through one, so that a row without it, or two with
// the same, would be passed over, and compares the other.
func (d *database) columnTypes() Findings {
	names := d.Table.Columns
	return Findings{d.sequenceColumn(names.Sequence), d.xidColumn(names.XID), d.payloadColumn(names.Payload)}
}

func (d *database) sequenceColumn(name string) Finding {
	c, object := d.columns[name], d.columnObject(name)
	if c.dataType != "bigint" && c.dataType != "integer" || !c.filled {
		return failed(CodeSequence, object, "column %s (RELAY_COLUMN_SEQUENCE) is %s, and the database must number every row by it: make "+
			"it bigint GENERATED ALWAYS AS IDENTITY", name, c.dataType)
	}
	return passed(CodeSequence, object, "column %s numbers the rows", name)
}

func (d *database) xidColumn(name string) Finding {
	c, object := d.columns[name], d.columnObject(name)
	if c.dataType != "xid8" || !c.filled {
		return failed(CodeXID, object, "column %s (RELAY_COLUMN_XID) is %s, and the database must fill it in every row: make it "+
			"xid8 NOT NULL DEFAULT pg_current_xact_id()", name, c.dataType)
	}
	return passed(CodeXID, object, "column %s names the writing transaction", name)
}

func (d *database) payloadColumn(name string) Finding {
	c, object := d.columns[name], d.columnObject(name)
	if c.dataType == "bytea" {
		return failed(CodePayload, object, "column %s (RELAY_COLUMN_PAYLOAD) is bytea, a message is text: make it json or text", name)
	}
	return passed(CodePayload, object, "column %s is %s", name, c.dataType)
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
	return columns
}
