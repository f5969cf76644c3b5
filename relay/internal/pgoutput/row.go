package pgoutput

import (
	"fmt"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const (
	fields      = outboxtable.Fields
	fieldTenant = outboxtable.FieldTenant
	fieldRoute  = outboxtable.FieldRoute
)

func fieldsOf(e *outbox.Envelope) [fields]*string {
	return [fields]*string{
		&e.ID, &e.Sequence, &e.XID, &e.AggregateType, &e.AggregateID, &e.EventType, &e.Payload, &e.Headers,
		&e.CreatedAt, &e.Tenant, &e.Route,
	}
}

// relation is the server's last description of a table.
type relation struct {
	outbox   bool
	columns  int         // in each of its tuples
	columnOf [fields]int // the index of the column for each field, or -1
	extra    []int       // the same for the columns in [outboxtable.Table.Extra]
	binary   []binaryField
	names    []string // of its columns
	lack     *MissingColumnError
	table    *outboxtable.Table
}

// constant is the text of a field without a column.
type constant struct {
	field int
	text  string
}

// span is the position of a value in a message. NULL is the empty span.
type span struct{ start, end int }

// describe stores the description of a table. The server sends it before the first row and after
// each change (DDL), so the columns of a row always match the last description. The server names
// the root for the rows of a partition if the publication has publish_via_partition_root.
func (d *Decoder) describe(r *reader) error {
	oid := r.uint32()
	schema, name := r.cString(), r.cString()
	if r.err != nil {
		return r.err
	}
	table, err := d.find(oid, string(schema), string(name))
	if err != nil {
		return err
	}
	if table == nil {
		d.relations[oid] = relation{}
		return nil
	}
	rel, err := d.mapColumns(r, table, d.relations[oid].names)
	if err != nil {
		return err
	}
	d.relations[oid] = rel
	return nil
}

// find returns the outbox table of these rows, or nil for those of every other table. The oid
// decides before the name: the server names a table as it was called when the rows were written, so
// the rows of a table that had another name for a while are its own. The name finds the rows of a
// relation that the outbox table has replaced.
func (d *Decoder) find(oid uint32, schema, name string) (*outboxtable.Table, error) {
	if !d.table.IsSeveral() {
		if d.table.Relation == oid || d.table.Has(schema, name) {
			return &d.table, nil
		}
		return nil, nil
	}
	isOid := func(one outboxtable.Table) bool { return one.Relation == oid }
	several := d.table.Several
	if i := slices.IndexFunc(several.Tables, isOid); i >= 0 {
		return &several.Tables[i], nil
	}
	if d.table.Has(schema, name) {
		return d.findUnknown(oid, schema, name)
	}
	if i := slices.IndexFunc(several.Former, isOid); i >= 0 {
		return d.findUnknown(oid, several.Former[i].Schema, several.Former[i].Name)
	}
	return nil, nil
}

// findUnknown returns a table that is one of several, and that is not among those that are
// streamed.
func (d *Decoder) findUnknown(oid uint32, schema, name string) (*outboxtable.Table, error) {
	number := int64(outbox.NoNumber)
	if d.Unknown != nil {
		var err error
		if number, err = d.Unknown(oid, schema, name); err != nil {
			return nil, err
		}
	}
	unknown := d.table.One(schema, name, number)
	unknown.Existing = d.existing(oid, unknown.String())
	return &unknown, nil
}

// existing returns the columns of the table that has the name now, or else those of the former
// table with this oid. It returns nil for a table that is neither: it was never streamed, so its
// rows have no column under a former name.
func (d *Decoder) existing(oid uint32, name string) []string {
	if now, exists := d.table.Named(name); exists {
		return now.Existing
	}
	for _, former := range d.table.Several.Former {
		if former.Relation == oid {
			return former.Existing
		}
	}
	return nil
}

func (d *Decoder) insert(r *reader, m *Message) error {
	if err := d.requireTransaction(); err != nil {
		return err
	}
	oid := r.uint32()
	if r.err != nil {
		return r.err
	}
	rel, known := d.relations[oid]
	if !known {
		return fmt.Errorf("the server has not described the table with OID %d", oid)
	}
	if !rel.outbox {
		return nil
	}
	if err := d.readTuple(r, rel.columns); err != nil {
		return err
	}
	d.fill(&m.Row, r.data, &rel)
	m.Row.Source = rel.table.Source
	m.Kind, m.Lack = KindRow, rel.lack
	if rel.binary != nil {
		return m.readBytes(rel.binary, d.table.PayloadBytes)
	}
	return nil
}

// readTuple finds the values of all columns.
func (d *Decoder) readTuple(r *reader, columns int) error {
	if tuple := r.uint8(); tuple != 'N' && r.err == nil {
		return fmt.Errorf("tuple of type %q in place of a new row", tuple)
	}
	if n := int(r.uint16()); n != columns && r.err == nil {
		return fmt.Errorf("row of %d columns, the table was described with %d", n, columns)
	}
	d.values = d.values[:0]
	for column := range columns {
		value, err := readValue(r)
		if err != nil {
			return fmt.Errorf("column %d: %w", column+1, err)
		}
		d.values = append(d.values, value)
	}
	return r.end()
}

// readValue reads one value in text format. Only an Update contains an unchanged TOASTed value
// ('u'). The server sends the binary format ('b') only on request.
func readValue(r *reader) (span, error) {
	if value, ok := r.text(); ok {
		return value, nil
	}
	switch format := r.uint8(); {
	case r.err != nil:
		return span{}, r.err
	case format == 'n':
		return span{}, nil
	case format != 't':
		return span{}, fmt.Errorf("value in format %q, only text is read", format)
	}
	length := int(r.uint32())
	start, _ := r.skip(length)
	return span{start, start + length}, r.err
}

// fill copies the needed values into one string and slices every field from it. It keeps no byte of
// the other columns.
func (d *Decoder) fill(e *outbox.Envelope, data []byte, rel *relation) {
	size := 0
	for _, column := range rel.columnOf {
		if column >= 0 {
			size += d.values[column].end - d.values[column].start
		}
	}
	text := d.texts.room(size)
	for field, target := range fieldsOf(e) {
		if column := rel.columnOf[field]; column >= 0 {
			start := text.Len()
			text.Write(data[d.values[column].start:d.values[column].end])
			*target = text.String()[start:]
		}
	}
	for _, c := range d.constants {
		*fieldsOf(e)[c.field] = c.text
	}
	if len(rel.extra) > 0 {
		d.fillExtra(e, data, rel.extra)
	}
	if size > longText {
		detach(e)
	}
}

// fillExtra adds the texts of further columns.
func (d *Decoder) fillExtra(e *outbox.Envelope, data []byte, columns []int) {
	e.Extra = make([]string, len(columns))
	for i, column := range columns {
		if column >= 0 {
			e.Extra[i] = string(data[d.values[column].start:d.values[column].end])
		}
	}
}
