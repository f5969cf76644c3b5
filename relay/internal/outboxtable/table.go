// Package outboxtable describes an outbox table: its name, which column or text fills each field of
// an event, and which guarantees its columns allow. Statements, decoding, checks, presets and
// documents follow from that description. It also has the catalog queries that prove that no policy
// and no type hides the contents of a table from the relay.
package outboxtable

import (
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Table describes an outbox table: its name, and which column fills each field of an event.
type Table struct {
	Schema, Name string
	Columns      Columns
	// Constants are the texts of fields without a column. They are the same for every row.
	Constants Columns
	// Extra are further columns to read, in the order of [outbox.Envelope.Extra].
	Extra []Extra
	// OrderKey are the indexes of the columns in Extra whose texts together are the unit of order.
	// If there are none, the aggregate is.
	OrderKey []int
	// PayloadBytes lets the payload be bytea: it is delivered in base64.
	PayloadBytes bool
	// Attributes are the columns in Extra that become attributes of messages.
	Attributes []Attribute
	// Alternatives are all names of the columns that have more than one; nil for most tables.
	// Columns has the names that the table uses.
	Alternatives Alternatives
	// Existing are the columns of the table, as far as they are known.
	Existing []string
	// Only excludes the rows of tables that inherit from this one, because the publication streams
	// those under their own names. It must be false for a partitioned table.
	Only bool
	// FilteredBy is the publication whose row filter applies. Empty: a row filter is refused.
	FilteredBy string
	// Filter is that filter, as an expression of SQL. Empty: there is none.
	Filter string
	// FilterDigest tells whether the filter is still the same, as [slot.FilterDigestSQL].
	FilterDigest string
	// Several are the tables that share this description; nil for a single one.
	Several *Several
	// Relation is the oid of the table, by which the log has it under any name, and which tells it
	// from another table that took its name. It is 0 if it is unknown, and for several tables.
	Relation uint32
	// Source is what an event knows of its table, for one of several; nil for a single one.
	Source *outbox.Source

	key         string // of all tables, for one of several
	publication string // of all tables, for one of several
}

// Identifier returns the quoted name of the table.
func (t Table) Identifier() string { return Quote(t.Schema) + "." + Quote(t.Name) }

// Quote returns a name as an identifier of SQL. A name is one of the settings or the catalog, so it
// has no zero byte.
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// From returns the operand of a FROM clause that reads the rows of the table.
func (t Table) From() string {
	if t.Only {
		return "ONLY " + t.Identifier()
	}
	return t.Identifier()
}

// Columns names the column that fills each field of an [outbox.Envelope]. One column can fill
// several fields. An empty name means that the table has no such column.
type Columns struct {
	ID, Sequence, XID, AggregateType, AggregateID, EventType, Payload, Headers, CreatedAt, Tenant, Route string
}

const (
	// Fields is the number of an Envelope's fields.
	Fields = 11
	// FieldTenant and FieldRoute are indexes in [Columns.Names].
	FieldTenant, FieldRoute = 9, 10
)

// settings are the relay's settings for the columns, in the order of [Columns.Names].
var settings = [Fields]string{
	"RELAY_COLUMN_ID", "RELAY_COLUMN_SEQUENCE", "RELAY_COLUMN_XID", "RELAY_COLUMN_AGGREGATE_TYPE",
	"RELAY_COLUMN_AGGREGATE_ID",
	"RELAY_COLUMN_EVENT_TYPE", "RELAY_COLUMN_PAYLOAD", "RELAY_COLUMN_HEADERS", "RELAY_COLUMN_CREATED_AT",
	SettingTenant, SettingRoutes,
}

// SettingTenant is a setting that may name a column, as in RELAY_TENANT=column:tenant_id.
const SettingTenant = "RELAY_TENANT"

// SettingRoutes is a setting that may name a column, as in RELAY_ROUTES=event:*=arn:…:${topic}.
const SettingRoutes = "RELAY_ROUTES"

// Extra is a column that fills no field of an event of its own.
type Extra struct {
	Setting string // that names the column, mostly among others
	Column  string // under the name that the table uses
	// Alternatives are all names of a renamed column, in order of preference; nil for most.
	Alternatives []string
}

// Attribute is a column that becomes an attribute of messages.
type Attribute struct {
	Name  string
	Index int // of the column in [Table.Extra]
}

// Names returns the possible names of the column.
func (e Extra) Names() []string {
	if e.Alternatives != nil {
		return e.Alternatives
	}
	return []string{e.Column}
}

// Either formats the names of a renamed column in a setting that lists several columns.
func Either(names ...string) string { return strings.ReplaceAll(Names(names), ",", "|") }

// PublishedBy returns the publication with this name, as it has to publish t. For several tables it
// names none of them.
func (t Table) PublishedBy(publication string) slot.Publication {
	if t.IsSeveral() {
		return slot.Publication{Name: publication}
	}
	return slot.Publication{Name: publication, Table: t.String(), Filter: t.Filter, FilterDigest: t.FilterDigest}
}

// IsRepairable reports whether the table shows which events a slot did not bring: by the writing
// transaction, in pages by the sequence.
func (t Table) IsRepairable() bool { return t.Columns.XID != "" && t.Columns.Sequence != "" }

// HasOrder reports whether events belong to units of order.
func (t Table) HasOrder() bool {
	return t.Columns.AggregateID != "" || t.Constants.AggregateID != "" || len(t.OrderKey) > 0
}

// HasAlternatives reports whether a column has several names.
func (t Table) HasAlternatives() bool {
	return t.Alternatives != nil ||
		slices.ContainsFunc(t.Extra, func(e Extra) bool { return e.Alternatives != nil })
}

// Fields returns the results of a function for each field, of its column and its constant. At most
// one of the two is not empty.
func (t Table) Fields(result func(column, constant string) string) Columns {
	var all Columns
	constants, targets := t.Constants.Names(), all.targets()
	for field, column := range t.Columns.Names() {
		*targets[field] = result(column, constants[field])
	}
	return all
}

// Mapped returns all columns to read, by the settings that name them, in the order of the settings.
func (t Table) Mapped() []Extra {
	var mapped []Extra
	for field, column := range t.Columns.Names() {
		if column != "" {
			mapped = append(mapped, Extra{Setting: settings[field], Column: column})
		}
	}
	return append(mapped, t.Extra...)
}

// Assignment returns a setting that names these columns, as in RELAY_COLUMN_PAYLOAD=payload,body.
func Assignment(setting string, columns ...string) string {
	switch setting {
	case SettingTenant:
		return setting + "=column:" + strings.Join(columns, ",")
	case SettingRoutes:
		return setting + "=…${" + strings.Join(columns, ",") + "}…"
	}
	return setting + "=" + strings.Join(columns, ",")
}

// Settings returns the columns by the names of the relay's settings.
func (c Columns) Settings() map[string]string {
	columns := make(map[string]string, Fields)
	for field, name := range c.Names() {
		columns[settings[field]] = name
	}
	return columns
}

// Set sets the column of one of the relay's settings.
func (c *Columns) Set(setting, column string) {
	if i := slices.Index(settings[:], setting); i >= 0 {
		*c.targets()[i] = column
	}
}

// Names returns the columns by the index of their field.
func (c *Columns) Names() [Fields]string {
	return [Fields]string{
		c.ID, c.Sequence, c.XID, c.AggregateType, c.AggregateID, c.EventType, c.Payload, c.Headers, c.CreatedAt,
		c.Tenant, c.Route,
	}
}

// Alternatives lists the names of renamed columns by the names of the relay's settings, in order of
// preference. Rows in the log have the column names of the time at which they were written.
type Alternatives map[string][]string

// Resolve returns the table with one name for each column: the first alternative that exists.
func (t Table) Resolve(existing []string) Table {
	t.Existing = existing
	targets := t.Columns.targets()
	resolve := func(target *string, names []string) {
		if i := FirstOf(names, existing); i >= 0 {
			*target = existing[i]
		}
	}
	for field, setting := range settings {
		resolve(targets[field], t.Alternatives[setting])
	}
	t.Extra = slices.Clone(t.Extra)
	for i := range t.Extra {
		resolve(&t.Extra[i].Column, t.Extra[i].Alternatives)
	}
	return t
}

// FirstOf returns which column has the first of the names that any of them has, or -1.
func FirstOf(names, columns []string) int {
	for _, name := range names {
		if column := slices.Index(columns, name); column >= 0 {
			return column
		}
	}
	return -1
}

// SettingOf returns the setting that names the column of a field.
func SettingOf(field int) string { return settings[field] }

func (c *Columns) targets() [Fields]*string {
	return [Fields]*string{
		&c.ID, &c.Sequence, &c.XID, &c.AggregateType, &c.AggregateID, &c.EventType, &c.Payload, &c.Headers,
		&c.CreatedAt, &c.Tenant, &c.Route,
	}
}

// NamesOf returns the possible names of a field's column, or none if the table has no column for
// it.
func (t *Table) NamesOf(field int) []string {
	if names := t.Alternatives[settings[field]]; len(names) > 0 {
		return names
	}
	if name := *t.Columns.targets()[field]; name != "" {
		return []string{name}
	}
	return nil
}
