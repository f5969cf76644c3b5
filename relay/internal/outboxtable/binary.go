package outboxtable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// BinaryColumn is a column that the relay reads and that holds bytes. Postgres' text form of them,
// as in \x0a0b, is not the written value.
type BinaryColumn struct {
	Column  string
	Type    string // as the table declares it: bytea, a domain over it, or a type that contains it
	Within  bool   // bytea is a part of the value: of an array, a composite, a range
	Setting string // that names the column
	table   Table
}

// Explanation describes the problem, and how the relay handles events that are already in the log.
func (b BinaryColumn) Explanation() string {
	return fmt.Sprintf(
		"column %s (%s) of table %s is %s, and a message is text: Postgres' text of the bytes, as in \\x0a0b, "+
			"is not the written value. "+
			"Events that are written until then become dead letters with their bytes once the column is text",
		b.Column, b.Setting, b.table.Identifier(), b.Type)
}

// Statement makes the column text. Bytes of an identifier become hexadecimal digits, as they do in
// a dead letter. A value of several parts becomes JSON.
func (b BinaryColumn) Statement() string {
	column := Quote(b.Column)
	text := "pg_catalog.encode(" + column + ", 'hex')"
	switch {
	case b.Within:
		text = "pg_catalog.to_json(" + column + ")::text"
	case b.Column == b.table.Columns.Payload:
		text = "pg_catalog.convert_from(" + column + ", 'UTF8')"
	}
	return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE text USING %s", b.table.Identifier(), column, text)
}

// partsOfTypes follows each type to those that it is made of: the one below a domain, the elements
// of an array, the attributes of a composite and the bounds of a range. within says that a value
// has further parts.
const partsOfTypes = `
		UNION
		SELECT m.relation, m.name, m.declared, part.type, m.within OR t.typtype <> 'd'
		FROM made_of m JOIN pg_type t ON t.oid = m.type CROSS JOIN LATERAL (
			SELECT t.typbasetype WHERE t.typtype = 'd'
			UNION ALL SELECT t.typelem WHERE t.typelem <> 0 AND t.typtype <> 'd'
			UNION ALL
			SELECT a.atttypid FROM pg_attribute a
			WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
			UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
		) AS part (type)
	)`

const binaryColumns = `
	WITH RECURSIVE made_of (relation, name, declared, type, within) AS (
		SELECT named.identifier, a.attname::text, format_type(a.atttypid, NULL), a.atttypid, false
		FROM pg_catalog.unnest($1::text[]) AS named (identifier)
		JOIN pg_attribute a ON a.attrelid = to_regclass(named.identifier)
		WHERE a.attname = ANY ($2) AND a.attnum > 0
			AND NOT a.attisdropped` + partsOfTypes + `
	SELECT relation, name, declared, bool_and(within) FROM made_of WHERE type = 'bytea'::regtype
	GROUP BY relation, name, declared ORDER BY relation, name`

const isMadeOfBytes = `
	WITH RECURSIVE made_of (relation, name, declared, type, within) AS (
		SELECT '', '', '', $1::oid, false` + partsOfTypes + `
	SELECT EXISTS (SELECT FROM made_of WHERE type = 'bytea'::regtype)`

// IsMadeOfBytes reports whether values of a type contain bytes. One that is dropped meanwhile
// counts as one that does not.
func IsMadeOfBytes(ctx context.Context, db Querier, oid uint32) (bool, error) {
	rows, err := db.Query(ctx, isMadeOfBytes, oid)
	if err != nil {
		return false, fmt.Errorf("look up type %d: %w", oid, err)
	}
	is, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
	if err != nil {
		return false, fmt.Errorf("look up type %d: %w", oid, err)
	}
	return is, nil
}

// FindBinaryColumns returns the columns that the relay reads as text and that hold bytes.
func FindBinaryColumns(ctx context.Context, db Querier, table Table) ([]BinaryColumn, error) {
	tables := map[string]Table{}
	var columns []string
	for _, one := range table.Each() {
		tables[one.Identifier()] = one
		columns = append(columns, readColumns(one)...)
	}
	slices.Sort(columns)
	columns = slices.Compact(columns)
	rows, err := db.Query(ctx, binaryColumns, table.identifiers(), columns)
	if err != nil {
		return nil, fmt.Errorf("look for columns that hold bytes: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (BinaryColumn, error) {
		var b BinaryColumn
		var identifier string
		err := row.Scan(&identifier, &b.Column, &b.Type, &b.Within)
		b.table = tables[identifier]
		b.Setting = settingOf(b.table, b.Column)
		return b, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for columns that hold bytes: %w", err)
	}
	return slices.DeleteFunc(found, func(b BinaryColumn) bool {
		isRead := slices.Contains(readColumns(b.table), b.Column)
		return !isRead || table.PayloadBytes && b.Column == b.table.Columns.Payload && !b.Within
	}), nil
}

// ErrBinary means that rows were read while a column held bytes: their text must not be sent.
var ErrBinary = errors.New("the rows have bytes in a column that is delivered as text")

// HasBinarySQL returns an SQL expression that is true while a column that the relay reads holds
// bytes. In the query that reads the rows it sees the current columns, because that query locks
// them against changes.
func HasBinarySQL(table Table) string {
	condition := "true"
	if table.PayloadBytes {
		condition = "within OR name <> " + QuoteLiteral(table.Columns.Payload)
	}
	return binaryAmong(table, readColumns(table), condition)
}

// PayloadIsBytesSQL returns an SQL expression that is true while the payload is bytes which the
// relay delivers.
func PayloadIsBytesSQL(table Table) string {
	if !table.PayloadBytes {
		return "false"
	}
	return binaryAmong(table, []string{table.Columns.Payload}, "NOT within")
}

// binaryAmong is true while one of these columns holds bytes, and condition holds for it.
func binaryAmong(table Table, names []string, condition string) string {
	var columns []string
	for _, column := range names {
		columns = append(columns, QuoteLiteral(column))
	}
	query := strings.NewReplacer("$1", "ARRAY["+QuoteLiteral(table.Identifier())+"]", "$2",
		"ARRAY["+strings.Join(columns, ", ")+"]").Replace(
		binaryColumns,
	)
	return "EXISTS (SELECT FROM (" + query + ") AS binary_column (relation, name, declared, within) WHERE " +
		condition + ")"
}

// QuoteLiteral returns text as an SQL literal.
func QuoteLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// readColumns are the columns that are sent as text. Bytes instead of headers are no JSON object
// and are dropped. The others are numbers and times, as the check before a start has verified.
func readColumns(t Table) []string {
	c := t.Columns
	columns := []string{c.ID, c.AggregateType, c.AggregateID, c.EventType, c.Payload, c.Tenant, c.Route}
	for _, extra := range t.Extra {
		columns = append(columns, extra.Column)
	}
	return slices.DeleteFunc(columns, func(name string) bool { return name == "" })
}

// settingOf returns the setting with the column's name, the first of several.
func settingOf(t Table, column string) string {
	mapped := t.Mapped()
	i := slices.IndexFunc(mapped, func(m Extra) bool { return m.Column == column })
	if i < 0 {
		return ""
	}
	return mapped[i].Setting
}
