package outboxtable

import (
	"strings"
)

// TextSQL is an expression for the text of a column as the stream brings it. The text is empty for
// NULL, and if column is empty because the table does not have it. The stream uses the output
// function of the type. A cast to text does not: it removes the padding of char(n), spells a
// boolean out, and adds a mask to an address. row is a prefix of the row's columns, which may be
// empty.
func TextSQL(row, column string) string {
	if column == "" {
		return "''"
	}
	return "pg_catalog.format('%s', " + row + Quote(column) + ")"
}

// Texts are the expressions for the texts of all fields, constants included.
func Texts(t Table, row string) Columns {
	return t.Fields(func(column, constant string) string {
		if column == "" && constant != "" {
			return QuoteLiteral(constant) + "::text"
		}
		return TextSQL(row, column)
	})
}

// ExtraSQL is an expression for the texts of the further columns, as an array.
func ExtraSQL(t Table, row string) string {
	if len(t.Extra) == 0 {
		return "NULL::text[]"
	}
	texts := make([]string, len(t.Extra))
	for i, extra := range t.Extra {
		texts[i] = TextSQL(row, extra.Column)
	}
	return "ARRAY[" + strings.Join(texts, ", ") + "]::text[]"
}
