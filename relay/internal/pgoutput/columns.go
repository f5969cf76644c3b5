package pgoutput

import (
	"fmt"
	"slices"
	"strings"
)

// Columns names the column that fills each field of an [outbox.Envelope]. One column can fill
// several fields. An empty name means that the table has no such column.
type Columns struct {
	ID, Sequence, XID, AggregateType, AggregateID, EventType, Payload, Headers, CreatedAt, Tenant, Route string
}

const (
	// fields is the number of an Envelope's fields.
	fields = 11
	// fieldTenant and fieldRoute are indexes in [Columns.names].
	fieldTenant, fieldRoute = 9, 10
)

// settings are the relay's settings for the columns, in the order of [Columns.names].
var settings = [fields]string{
	"RELAY_COLUMN_ID", "RELAY_COLUMN_SEQUENCE", "RELAY_COLUMN_XID", "RELAY_COLUMN_AGGREGATE_TYPE",
	"RELAY_COLUMN_AGGREGATE_ID",
	"RELAY_COLUMN_EVENT_TYPE", "RELAY_COLUMN_PAYLOAD", "RELAY_COLUMN_HEADERS", "RELAY_COLUMN_CREATED_AT",
	SettingTenant, SettingRoutes,
}

// SettingTenant is a setting that may name a column, as in RELAY_TENANT=column:tenant_id.
const SettingTenant = "RELAY_TENANT"

// SettingRoutes is a setting that may name a column, as in RELAY_ROUTES=event:*=arn:…:${topic}.
const SettingRoutes = "RELAY_ROUTES"

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
	columns := make(map[string]string, fields)
	for field, name := range c.names() {
		columns[settings[field]] = name
	}
	return columns
}

func (c *Columns) names() [fields]string {
	return [fields]string{
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
	for field, setting := range settings {
		for _, name := range t.Alternatives[setting] {
			if slices.Contains(existing, name) {
				*targets[field] = name
				break
			}
		}
	}
	return t
}

func (c *Columns) targets() [fields]*string {
	return [fields]*string{
		&c.ID, &c.Sequence, &c.XID, &c.AggregateType, &c.AggregateID, &c.EventType, &c.Payload, &c.Headers,
		&c.CreatedAt, &c.Tenant, &c.Route,
	}
}

// namesOf returns the possible names of a field's column, or none if the table has no column for
// it.
func (t *Table) namesOf(field int) []string {
	if names := t.Alternatives[settings[field]]; len(names) > 0 {
		return names
	}
	if name := *t.Columns.targets()[field]; name != "" {
		return []string{name}
	}
	return nil
}

// mapColumns reads which columns the rows that follow have. before are those of the rows before
// them.
func (d *Decoder) mapColumns(r *reader, before []string) (relation, error) {
	r.uint8() // replica identity
	rel := relation{outbox: true, columns: int(r.uint16())}
	types := make([]uint32, 0, rel.columns)
	for range rel.columns {
		r.uint8() // flags
		rel.names = append(rel.names, string(r.cString()))
		types = append(types, r.uint32())
		r.uint32() // type modifier
		if r.err != nil {
			return relation{}, r.err
		}
	}
	if err := r.end(); err != nil {
		return relation{}, err
	}
	var missing []int
	for field := range fields {
		names := d.table.namesOf(field)
		column := firstOf(names, rel.names)
		if rel.columnOf[field] = column; column >= 0 {
			if err := d.noteBinary(&rel, field, column, types[column]); err != nil {
				return relation{}, err
			}
		} else if len(names) > 0 && !d.isOfBefore(field, names, rel.names, before) {
			missing = append(missing, field)
		}
	}
	if missing != nil {
		return relation{}, d.missingColumns(&rel, missing, before)
	}
	return rel, nil
}

// isOfBefore reports whether rows with these columns lack a field's column because they were
// written before it was added. A tenant may be missing: the relay publishes such an event without
// one. So may the column of a pattern, which is then empty. The table had the column when the
// session began, and the rows before did not have it. Where it was renamed since, the rows have a
// column that the table did not have.
func (d *Decoder) isOfBefore(field int, names, columns, before []string) bool {
	isNew := func(column string) bool { return !slices.Contains(d.table.Existing, column) }
	return field >= fieldTenant && firstOf(names, d.table.Existing) >= 0 && firstOf(names, before) < 0 &&
		!slices.ContainsFunc(columns, isNew)
}

// firstOf returns which column has the first of the names that any of them has, or -1.
func firstOf(names, columns []string) int {
	for _, name := range names {
		if column := slices.Index(columns, name); column >= 0 {
			return column
		}
	}
	return -1
}

// MissingColumnError says that the log has rows without columns that the relay has to read. No
// retry brings them.
type MissingColumnError struct {
	Table   string
	Missing []MissingColumn
}

// MissingColumn is a column that rows in the log do not have.
type MissingColumn struct {
	Setting string
	Names   []string // names in the setting
	Renamed []string // columns of the rows that may be the missing one under another name
}

func (e *MissingColumnError) Error() string {
	var texts []string
	for _, m := range e.Missing {
		texts = append(texts, m.String())
	}
	return fmt.Sprintf("the log has rows of table %s without a column that the relay reads: %s", e.Table,
		strings.Join(texts, "; "))
}

// String names the missing column and the setting that reads these rows.
func (m MissingColumn) String() string {
	names := Names(m.Names)
	missing := fmt.Sprintf("they have no column %q (%s)", names, m.Setting)
	switch len(m.Renamed) {
	case 0:
		return missing + ", and no other that could be it. If the publication leaves it out, as it does with " +
			"generated columns, have it published. If the relay needs none, set " + m.Setting +
			" to nothing. If these rows were written before the column was added, run relay recover: it shows which " +
			"of them the table still has, and with --yes they are published from there"
	case 1:
		return fmt.Sprintf("%s, and they have %q. If the column was renamed, set %s, which reads rows of "+
			"either name",
			missing, m.Renamed[0], Assignment(m.Setting, names, Names(m.Renamed)))
	}
	return fmt.Sprintf("%s, and they have %q. If the column was renamed, set %s with its name in these rows, which "+
		"reads rows of either name", missing, m.Renamed, Assignment(m.Setting, names, "NAME"))
}

// Names formats column names as a setting lists them.
func Names(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quoteIfNeeded(name)
	}
	return strings.Join(quoted, ",")
}

func (d *Decoder) missingColumns(rel *relation, missing []int, before []string) error {
	e := &MissingColumnError{Table: d.table.String()}
	for _, field := range missing {
		names := d.table.namesOf(field)
		e.Missing = append(e.Missing, MissingColumn{
			Setting: settings[field], Names: names,
			Renamed: d.renamed(rel, names, before),
		})
	}
	return e
}

// renamed returns the columns that are probably the missing one under a new name. A renamed column
// keeps its position, so the rows before the change identify it. Otherwise renamed returns the
// columns that fill no field, and prefers those that the table no longer has.
func (d *Decoder) renamed(rel *relation, names, before []string) []string {
	if place := firstOf(names, before); place >= 0 && len(before) == len(rel.names) {
		return rel.names[place : place+1]
	}
	var unused, gone []string
	for column, name := range rel.names {
		if slices.Contains(rel.columnOf[:], column) {
			continue
		}
		unused = append(unused, name)
		if d.table.Existing != nil && !slices.Contains(d.table.Existing, name) {
			gone = append(gone, name)
		}
	}
	if len(gone) > 0 {
		return gone
	}
	return unused
}
