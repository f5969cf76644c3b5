package pgoutput

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// byteaOID is the OID of bytea in every Postgres.
const byteaOID = 17

// fieldPayload is the index of the payload in [Columns.names]. The payload keeps its bytes. An
// identifier becomes hexadecimal digits.
const fieldPayload = 6

// leavesAsText marks the fields whose values become text of a message, by their index in
// [Columns.names]. Headers that are bytes are no JSON object and are dropped.
var leavesAsText = [fields]bool{0: true, 3: true, 4: true, 5: true, fieldPayload: true}

// binaryField is a field whose column holds bytes.
type binaryField struct {
	field        int
	column, kind string
}

// describeType stores a type that is not built in. The server sends it before a table with a column
// of that type. For a domain the server sends the name of the base type.
func (d *Decoder) describeType(r *reader) error {
	oid := r.uint32()
	schema, name := r.cString(), r.cString()
	if err := r.end(); err != nil {
		return err
	}
	delete(d.bytesTypes, oid)
	if len(schema) == 0 && string(name) == "bytea" { // the empty schema is pg_catalog
		d.bytesTypes[oid] = "a domain over bytea"
	}
	return nil
}

// noteBinary records that a column of this type fills a field, if the type holds bytes.
func (rel *relation) noteBinary(field int, column, bytesType string) {
	if bytesType != "" && leavesAsText[field] {
		rel.binary = append(rel.binary, binaryField{field: field, column: column, kind: bytesType})
	}
}

// readBytes replaces the text that Postgres prints for bytes with the bytes, and names their
// columns in m.Binary.
func (m *Message) readBytes(fields []binaryField) error {
	values := fieldsOf(&m.Row)
	var columns []string
	for _, b := range fields {
		value := values[b.field]
		if *value == "" { // NULL
			continue
		}
		digits, written := strings.CutPrefix(*value, `\x`)
		if !written {
			return fmt.Errorf("column %s: the text of its bytes does not begin with \\x, as bytea_output = hex "+
				"makes it", b.column)
		}
		columns = append(columns, fmt.Sprintf("%s (%s)", b.column, b.kind))
		if *value = digits; b.field != fieldPayload {
			continue
		}
		bytes, err := hex.DecodeString(digits)
		if err != nil {
			return fmt.Errorf("column %s: %w", b.column, err)
		}
		*value = string(bytes)
	}
	m.Binary = strings.Join(columns, ", ")
	return nil
}
