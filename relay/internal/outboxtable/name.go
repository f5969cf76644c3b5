package outboxtable

import "strings"

// String returns the name of the table in SQL: schema.name, each part quoted if necessary. For
// several tables, it is their names as RELAY_TABLE has them.
func (t Table) String() string {
	if t.Several != nil {
		return t.Several.names()
	}
	return quoteIfNeeded(t.Schema) + "." + quoteIfNeeded(t.Name)
}

func quoteIfNeeded(name string) string {
	if name != "" && isPlain(name) && (name[0] < '0' || name[0] > '9') {
		return name
	}
	return Quote(name)
}

// isPlain reports whether a part of a name has only characters that need no quotes in SQL.
func isPlain(part string) bool {
	return strings.IndexFunc(part, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
	}) < 0
}

// Names formats column names as a setting lists them.
func Names(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quoteIfNeeded(name)
	}
	return strings.Join(quoted, ",")
}

// ParseName reads a name as [Table.String] writes it.
func ParseName(text string) (schema, name string) {
	isQuoted := false
	for i := range len(text) {
		switch {
		case text[i] == '"':
			isQuoted = !isQuoted
		case text[i] == '.' && !isQuoted:
			return unquote(text[:i]), unquote(text[i+1:])
		}
	}
	return "", unquote(text)
}

// IsOne reports whether a key of the relay's own tables is the name of one table, and not that of
// several: see [Table.Key].
func IsOne(key string) bool {
	schema, name := ParseName(key)
	return key == Table{Schema: schema, Name: name}.String()
}

func unquote(name string) string {
	if len(name) < 2 || name[0] != '"' {
		return name
	}
	return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
}
