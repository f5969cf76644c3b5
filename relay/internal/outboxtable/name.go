package outboxtable

import (
	"regexp"
	"strings"
)

// plain matches a name that needs no quotes in SQL.
var plain = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// String returns the name of the table in SQL: schema.name, each part quoted if necessary.
func (t Table) String() string { return quoteIfNeeded(t.Schema) + "." + quoteIfNeeded(t.Name) }

func quoteIfNeeded(name string) string {
	if plain.MatchString(name) {
		return name
	}
	return Quote(name)
}

// Names formats column names as a setting lists them.
func Names(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quoteIfNeeded(name)
	}
	return strings.Join(quoted, ",")
}
