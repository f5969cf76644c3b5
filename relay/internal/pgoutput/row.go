package pgoutput

import (
	"errors"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// fields is how many fields an Envelope has.
const fields = 9

// settings name the relay's settings of the columns, in the order of [Columns.names].
var settings = [fields]string{
	"RELAY_COLUMN_ID", "RELAY_COLUMN_SEQUENCE", "RELAY_COLUMN_XID", "RELAY_COLUMN_AGGREGATE_TYPE", "RELAY_COLUMN_AGGREGATE_ID",
	"RELAY_COLUMN_EVENT_TYPE", "RELAY_COLUMN_PAYLOAD", "RELAY_COLUMN_HEADERS", "RELAY_COLUMN_CREATED_AT",
}

// Settings returns the columns under the names of the relay's settings for them.
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
	}
}

func fieldsOf(e *outbox.Envelope) [fields]*string {
	return [fields]*string{
		&e.ID, &e.Sequence, &e.XID, &e.AggregateType, &e.AggregateID, &e.EventType, &e.Payload, &e.Headers, &e.CreatedAt,
	}
}

// relation is a table as the server described it last.
type relation struct {
	outbox   bool
	columns  int         // in each of its tuples
	columnOf [fields]int // the column that fills each field, or -1
	binary   []binaryField
}

// span is where a value stands in a message; the empty span stands for NULL as well.
type span struct{ start, end int }

// describe remembers a table. The server describes it before its first row and again after each change (DDL), so the
// columns of a row are always those of the last description. A table is known by the name that the server sends, which is the root's for
// the rows of a partition if the publication has publish_via_partition_root.
func (d *Decoder) describe(r *reader) error {
	oid := r.uint32()
	schema, name := r.cString(), r.cString()
	if r.err != nil {
		return r.err
	}
	if string(schema) != d.table.Schema || string(name) != d.table.Name {
		d.relations[oid] = relation{}
		return nil
	}
	rel, err := d.mapColumns(r)
	if err != nil {
		return err
	}
	d.relations[oid] = rel
	return nil
}

func (d *Decoder) mapColumns(r *reader) (relation, error) {
	names := d.table.Columns.names()
	r.uint8() // replica identity
	rel := relation{outbox: true, columns: int(r.uint16()), columnOf: [fields]int{-1, -1, -1, -1, -1, -1, -1, -1, -1}}
	for column := range rel.columns {
		r.uint8() // flags
		name := r.cString()
		typeOID := r.uint32()
		r.uint32() // type modifier
		if r.err != nil {
			return relation{}, r.err
		}
		for field := range names {
			if string(name) == names[field] {
				rel.columnOf[field] = column
				rel.noteBinary(field, string(name), d.bytesTypes[typeOID])
			}
		}
	}
	if err := r.end(); err != nil {
		return relation{}, err
	}
	return rel, d.missingColumns(&rel, names)
}

func (d *Decoder) missingColumns(rel *relation, names [fields]string) error {
	var missing []error
	for field, column := range rel.columnOf {
		if column < 0 && names[field] != "" {
			missing = append(missing, fmt.Errorf("table %s.%s publishes no column %q: add the column or set %s to the one to read",
				d.table.Schema, d.table.Name, names[field], settings[field]))
		}
	}
	return errors.Join(missing...)
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
	d.fill(&m.Row, r.data, &rel.columnOf)
	m.Kind = KindRow
	if rel.binary != nil {
		return m.readBytes(rel.binary)
	}
	return nil
}

// readTuple finds the value of each column.
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

// readValue reads one value in text format. An unchanged TOASTed value ('u') stands only in an Update, and the binary
// format ('b') is sent only to a client that asks for it.
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

// fill copies the wanted values into one text and lets every field be a part of it: no byte is kept of columns that nobody
// asked for.
func (d *Decoder) fill(e *outbox.Envelope, data []byte, columnOf *[fields]int) {
	size := 0
	for _, column := range columnOf {
		if column >= 0 {
			size += d.values[column].end - d.values[column].start
		}
	}
	text := d.texts.room(size)
	for field, target := range fieldsOf(e) {
		if column := columnOf[field]; column >= 0 {
			start := text.Len()
			text.Write(data[d.values[column].start:d.values[column].end])
			*target = text.String()[start:]
		}
	}
}
