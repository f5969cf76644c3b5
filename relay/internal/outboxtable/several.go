package outboxtable

import (
	"slices"
	"strconv"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Pattern names outbox tables: one, or that of each schema whose name matches.
type Pattern struct {
	// Schema are the texts around each *, which stands for any text. One text alone is a name.
	Schema []string
	Name   string
}

// IsName reports whether p names one table.
func (p Pattern) IsName() bool { return len(p.Schema) == 1 }

// Matches reports whether p names a table.
func (p Pattern) Matches(schema, name string) bool {
	first, rest := p.Schema[0], p.Schema[1:]
	if name != p.Name || !strings.HasPrefix(schema, first) {
		return false
	}
	schema = schema[len(first):]
	if len(rest) == 0 {
		return schema == ""
	}
	last := rest[len(rest)-1]
	for _, text := range rest[:len(rest)-1] {
		_, after, found := strings.Cut(schema, text)
		if !found {
			return false
		}
		schema = after
	}
	return strings.HasSuffix(schema, last)
}

// String returns p as RELAY_TABLE has it.
func (p Pattern) String() string {
	if p.IsName() {
		return Table{Schema: p.Schema[0], Name: p.Name}.String()
	}
	var schema []string
	for _, text := range p.Schema {
		if !isPlain(text) {
			text = Quote(text)
		}
		schema = append(schema, text)
	}
	return strings.Join(schema, "*") + "." + quoteIfNeeded(p.Name)
}

// Several are the tables of a description of several tables.
type Several struct {
	Patterns    []Pattern
	Publication string // a table belongs to them while the publication has it
	// Tables are those that exist, in the order of their numbers. They have the same columns.
	Tables []Table
	// Former are tables of the slot that are not streamed now under any of the names, by the name
	// that each of them had last. The log may have rows of their relations.
	Former []Table
}

// IsSeveral reports whether t may be any number of tables. t then has no name, and its columns are
// those that the settings name.
func (t Table) IsSeveral() bool { return t.Several != nil }

// Each returns the tables that t describes: itself, or those of several.
func (t Table) Each() []Table {
	if t.Several == nil {
		return []Table{t}
	}
	return t.Several.Tables
}

// Names returns the names of several tables as a checkpoint row has them; nil for a single one.
func (t Table) Names() []string {
	if t.Several == nil {
		return nil
	}
	names := []string{}
	for _, one := range t.Several.Tables {
		names = append(names, one.String())
	}
	return names
}

// Has reports whether t describes a table of this name.
func (t Table) Has(schema, name string) bool {
	if t.Several == nil {
		return schema == t.Schema && name == t.Name
	}
	return t.Several.matches(schema, name)
}

func (s *Several) matches(schema, name string) bool {
	return slices.ContainsFunc(s.Patterns, func(p Pattern) bool { return p.Matches(schema, name) })
}

// names returns the names of all tables, as RELAY_TABLE has them. Their order has no meaning, so
// the result is sorted.
func (s *Several) names() string {
	var names []string
	for _, p := range s.Patterns {
		names = append(names, p.String())
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// TableNames returns the names of the tables without their schemas. It is not nil.
func (s *Several) TableNames() []string {
	names := []string{}
	for _, p := range s.Patterns {
		names = append(names, p.Name)
	}
	return names
}

// Of returns the one of several tables with this name, or false.
func (t Table) Of(source *outbox.Source) (Table, bool) {
	for _, one := range t.Each() {
		if one.Source == source || source != nil && one.Source != nil && one.Source.Table == source.Table {
			return one, true
		}
	}
	return Table{}, false
}

// Named returns the one of the tables with this name, as [Table.String] has it, or false.
func (t Table) Named(name string) (Table, bool) {
	for _, one := range t.Each() {
		if one.String() == name {
			return one, true
		}
	}
	return Table{}, false
}

// One returns one of the several tables that t describes, with a name and a number.
func (t Table) One(schema, name string, number int64) Table {
	one := t
	one.Schema, one.Name, one.Several = schema, name, nil
	return one.Among(t.Key(), t.Several.Publication, number)
}

// Among returns t as one of several tables that have this name in the relay's own tables.
func (t Table) Among(key, publication string, number int64) Table {
	t.key, t.publication = key, publication
	t.Source = &outbox.Source{Schema: t.Schema, Name: t.Name, Table: t.String(), Number: number}
	return t
}

// Key returns the name of the table in the relay's own tables. It is that of all tables for one of
// several.
func (t Table) Key() string {
	if t.key != "" {
		return t.key
	}
	return t.String()
}

// WithTables returns a copy of t, which describes several tables, with those that exist.
func (t Table) WithTables(tables []Table) Table {
	several := *t.Several
	several.Tables = tables
	t.Several = &several
	return t
}

// EventIDSQL is an expression for the id that an event is delivered with, as route.EventID. row is
// a prefix of its columns.
func (t Table) EventIDSQL(row string) string {
	return "coalesce(nullif(" + TextSQL(row, t.Columns.ID) + ", ''), 'seq:' || " +
		row + Quote(t.Columns.Sequence) + "::text)"
}

// CommonSeqSQL is an expression for the common seq of a row. row is a prefix of its columns.
func (t Table) CommonSeqSQL(row string) string {
	seq := row + Quote(t.Columns.Sequence)
	if t.Source == nil {
		return seq
	}
	return "(" + seq + "::bigint + " + strconv.FormatInt(t.Source.Offset(), 10) + ")"
}

// identifiers returns the quoted names of all tables.
func (t Table) identifiers() []string {
	names := []string{}
	for _, one := range t.Each() {
		names = append(names, one.Identifier())
	}
	return names
}

// NumberOf returns the number of one of the tables, or [outbox.NoNumber].
func (t Table) NumberOf(schema, name string) int64 {
	for _, one := range t.Each() {
		if one.Source != nil && one.Schema == schema && one.Name == name {
			return one.Source.Number
		}
	}
	return outbox.NoNumber
}
