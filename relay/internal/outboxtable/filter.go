package outboxtable

// FilterSQL is a condition on a row of the table: the row filter of the publication, so that the
// table shows the rows that the log brings. It is true where the publication has no row filter. row
// is the alias of the table in the statement, or empty where the statement has no alias and reads
// no other table beside it. A column of the filter is then found before one of the same name in any
// other table.
func (t Table) FilterSQL(row string) string {
	switch {
	case t.Filter == "":
		return "true"
	case row == "":
		return "(" + t.Filter + ")"
	}
	return "EXISTS (SELECT FROM (SELECT " + row + ".*) AS filtered WHERE (" + t.Filter + "))"
}
