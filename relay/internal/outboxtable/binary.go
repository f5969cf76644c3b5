package outboxtable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
)

// BinaryColumn is a column that the relay reads and that holds bytes. Postgres' text form of them,
// as in \x0a0b, is not the written value.
type BinaryColumn struct {
	Column  string
	Type    string // declared type in the table: bytea, or a domain
	Setting string // the setting with the column's name
	table   pgoutput.Table
}

// Explanation describes the problem, and how the relay handles events that are already in the log.
func (b BinaryColumn) Explanation() string {
	return fmt.Sprintf(
		"column %s (%s) of table %s is %s, and a message is text: Postgres' text of the bytes, as in \\x0a0b, "+
			"is not the written value. "+
			"Events that are written until then become dead letters with their bytes once the column is text",
		b.Column, b.Setting, identifier(b.table), b.Type)
}

// Statement makes the column text. Bytes of an identifier become hexadecimal digits, as they do in
// a dead letter.
func (b BinaryColumn) Statement() string {
	column := pgx.Identifier{b.Column}.Sanitize()
	text := "encode(" + column + ", 'hex')"
	if b.Column == b.table.Columns.Payload {
		text = "convert_from(" + column + ", 'UTF8')"
	}
	return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE text USING %s", identifier(b.table), column, text)
}

// binaryColumns resolves domains to their base type.
const binaryColumns = `
	WITH RECURSIVE made_of (name, declared, type) AS (
		SELECT a.attname, format_type(a.atttypid, NULL), a.atttypid FROM pg_attribute a
		WHERE a.attrelid = to_regclass($1) AND a.attname = ANY ($2) AND a.attnum > 0 AND NOT a.attisdropped
		UNION ALL
		SELECT m.name, m.declared, t.typbasetype FROM made_of m JOIN pg_type t ON t.oid = m.type AND t.typtype = 'd'
	) SELECT name::text, declared FROM made_of WHERE type = 'bytea'::regtype ORDER BY name`

// FindBinaryColumns returns the columns that the relay reads and that hold bytes.
func FindBinaryColumns(ctx context.Context, db Querier, table pgoutput.Table) ([]BinaryColumn, error) {
	rows, err := db.Query(ctx, binaryColumns, identifier(table), readColumns(table))
	if err != nil {
		return nil, fmt.Errorf("look for columns that hold bytes: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (BinaryColumn, error) {
		b := BinaryColumn{table: table}
		err := row.Scan(&b.Column, &b.Type)
		b.Setting = settingOf(table, b.Column)
		return b, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for columns that hold bytes: %w", err)
	}
	return found, nil
}

// ErrBinary means that rows were read while a column held bytes: their text must not be sent.
var ErrBinary = errors.New("the rows have bytes in a column that is delivered as text")

// HasBinarySQL returns an SQL expression that is true while a column that the relay reads holds
// bytes. In the query that reads the rows it sees the current columns, because that query locks
// them against changes.
func HasBinarySQL(table pgoutput.Table) string {
	var columns []string
	for _, column := range readColumns(table) {
		columns = append(columns, QuoteLiteral(column))
	}
	query := strings.NewReplacer("$1", QuoteLiteral(identifier(table)), "$2",
		"ARRAY["+strings.Join(columns, ", ")+"]").Replace(
		binaryColumns,
	)
	return "EXISTS (" + query + ")"
}

// QuoteLiteral returns text as an SQL literal.
func QuoteLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// readColumns are the columns that are sent as text. Bytes instead of headers are no JSON object
// and are dropped. The others are numbers and times, as the check before a start has verified.
func readColumns(t pgoutput.Table) []string {
	c := t.Columns
	return slices.DeleteFunc([]string{c.ID, c.AggregateType, c.AggregateID, c.EventType, c.Payload},
		func(name string) bool { return name == "" })
}

// settingOf returns the setting with the column's name, the first of several.
func settingOf(t pgoutput.Table, column string) string {
	settings := t.Columns.Settings()
	for _, setting := range slices.Sorted(maps.Keys(settings)) {
		if settings[setting] == column {
			return setting
		}
	}
	return ""
}
