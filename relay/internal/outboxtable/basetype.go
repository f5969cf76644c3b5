package outboxtable

// BaseTypeSQL is an expression for the oid of the type below the domains of a type, or of the type
// itself. oid is an expression in SQL.
func BaseTypeSQL(oid string) string {
	return `(
		WITH RECURSIVE domain (type, below) AS (
			SELECT t.oid, t.typbasetype FROM pg_type t WHERE t.oid = ` + oid + `
			UNION ALL
			SELECT t.oid, t.typbasetype FROM domain JOIN pg_type t ON t.oid = domain.below
		)
		SELECT type FROM domain WHERE below = 0)`
}
