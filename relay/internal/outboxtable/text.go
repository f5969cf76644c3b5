package outboxtable

import "github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"

// TextSQL is an expression for the text of a column as the stream brings it. The text is empty for
// NULL, and if column is empty because the table does not have it. The stream uses the output
// function of the type. A cast to text does not: it removes the padding of char(n), spells a
// boolean out, and adds a mask to an address. row is a prefix of the row's columns, which may be
// empty.
func TextSQL(row, column string) string {
	if column == "" {
		return "''"
	}
	return "format('%s', " + row + pgoutput.Quote(column) + ")"
}
