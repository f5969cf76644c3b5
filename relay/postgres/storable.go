package postgres

import "strings"

// Storable returns text as Postgres can store it: no text has U+0000, or bytes that are not UTF-8.
// https://www.postgresql.org/docs/current/datatype-character.html
func Storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}
