package outboxtable

import "github.com/jackc/pgx/v5"

// TextSQL is an expression for the text of a column as the stream brings it, and empty for NULL. The stream uses the output
// function of the type. A cast to text does not: it cuts the padding of char(n) off, spells a boolean out, and adds a mask to
// an address. The row is named by a prefix of its columns, which may be empty.
func TextSQL(row, column string) string {
	return "format('%s', " + row + pgx.Identifier{column}.Sanitize() + ")"
}
