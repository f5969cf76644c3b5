package pgoutput

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Every Postgres has the same OIDs for built-in types. The server describes only other types before
// a table with a column of that type.
// https://www.postgresql.org/docs/current/system-catalog-initial-data.html#SYSTEM-CATALOG-OID-ASSIGNMENT
const (
	byteaOID      = 17
	byteaArrayOID = 1001
	firstUserOID  = 16384
)

// bytesType is a type whose values are bytes, or contain bytes.
type bytesType struct {
	kind   string // empty for a type of other values
	within bool   // the value has further parts, so that its text is not that of the bytes
}

// fieldPayload is the index of the payload in [outboxtable.Columns.Names]. The payload keeps its
// bytes. An identifier becomes hexadecimal digits.
const fieldPayload = 6

// leavesAsText marks the fields whose values become text of a message, by their index in
// [outboxtable.Columns.Names]. Headers that are bytes are no JSON object and are dropped.
var leavesAsText = [fields]bool{
	0: true, 3: true, 4: true, 5: true, fieldPayload: true, fieldTenant: true, fieldRoute: true,
}

// binaryField is a field whose column holds bytes.
type binaryField struct {
	bytesType
	field  int // above all fields: that of [outboxtable.Table.Extra] minus their number
	column string
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
		d.bytesTypes[oid] = bytesType{kind: "a domain over bytea"}
	}
	return nil
}

// noteBinary records that a column fills a field, if its type holds bytes. The server does not
// describe the parts of a type, so the decoder asks for them.
func (d *Decoder) noteBinary(rel *relation, field, column int, oid uint32) error {
	if field < fields && !leavesAsText[field] {
		return nil
	}
	held, known := d.bytesTypes[oid]
	if !known && oid >= firstUserOID && d.ContainsBytes != nil {
		contains, err := d.ContainsBytes(oid)
		if err != nil {
			return fmt.Errorf("column %s: %w", rel.names[column], err)
		}
		if contains {
			held = bytesType{kind: "a type that contains bytea", within: true}
		}
		d.bytesTypes[oid] = held
	}
	if held.kind != "" {
		rel.binary = append(rel.binary, binaryField{bytesType: held, field: field, column: rel.names[column]})
	}
	return nil
}

// readBytes replaces the text that Postgres prints for bytes with the bytes, and names their
// columns in m.Binary. The text of a value with further parts depends on settings of the server and
// must not be delivered. It becomes hexadecimal digits.
//
// With encodes a payload of bytes becomes base64, and its column is not named.
func (m *Message) readBytes(columnsOfBytes []binaryField, encodes bool) error {
	values := fieldsOf(&m.Row)
	var columns []string
	for _, b := range columnsOfBytes {
		var value *string
		if b.field < fields {
			value = values[b.field]
		} else {
			value = &m.Row.Extra[b.field-fields]
		}
		if *value == "" { // NULL
			continue
		}
		if b.within {
			columns = append(columns, fmt.Sprintf("%s (%s)", b.column, b.kind))
			*value = hex.EncodeToString([]byte(*value))
			continue
		}
		if b.field == fieldPayload && encodes {
			if err := EncodePayload(&m.Row); err != nil {
				return fmt.Errorf("column %s: %w", b.column, err)
			}
			continue
		}
		digits, written := strings.CutPrefix(*value, `\x`)
		if !written {
			return fmt.Errorf("column %s: %w", b.column, errNoHex)
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

var errNoHex = errors.New("the text of its bytes does not begin with \\x, as bytea_output = hex makes it")

// EncodePayload replaces the text that Postgres prints for the bytes of a payload with base64.
func EncodePayload(e *outbox.Envelope) error {
	if e.Payload == "" {
		return nil
	}
	digits, written := strings.CutPrefix(e.Payload, `\x`)
	if !written {
		return errNoHex
	}
	bytes, err := hex.DecodeString(digits)
	if err != nil {
		return err
	}
	e.Payload, e.Base64 = base64.StdEncoding.EncodeToString(bytes), len(bytes) > 0
	return nil
}
