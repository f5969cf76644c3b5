package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// checkSyntax returns an error unless body is exactly one JSON value in UTF-8.
func checkSyntax(body []byte) error {
	if !utf8.Valid(body) {
		return errors.New("it is not UTF-8")
	}
	var value json.RawMessage
	err := json.Unmarshal(body, &value)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return fmt.Errorf("%w, at byte %d", err, syntax.Offset)
	}
	return err
}

// reader decodes JSON more strictly than encoding/json. Names are case-sensitive and unique, every
// field is required, and all errors are collected. Its input must have passed [checkSyntax]. An
// invalid or missing field reads as zero.
type reader struct {
	wrong    []fieldError
	reported map[string]bool
}

// maxErrors is more than an order of the allowed size can have. Further errors of an arbitrary body
// are dropped.
const maxErrors = 2000

// report records an error of a field, unless the field or its parent already has one.
func (r *reader) report(pointer, detail string) {
	if r.known(pointer) || len(r.wrong) == maxErrors {
		return
	}
	if r.reported == nil {
		r.reported = map[string]bool{}
	}
	r.reported[pointer] = true
	r.wrong = append(r.wrong, fieldError{Pointer: &pointer, Detail: detail})
}

func (r *reader) known(pointer string) bool {
	for pointer != "" && !r.reported[pointer] {
		pointer = pointer[:strings.LastIndexByte(pointer, '/')]
	}
	return r.reported[pointer]
}

// object returns the members of an object that must have exactly the names in known.
func (r *reader) object(at string, body json.RawMessage, known ...string) map[string]json.RawMessage {
	members := map[string]json.RawMessage{}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		r.report(at, "must be an object")
		return members
	}
	for decoder.More() {
		name, value, err := member(decoder)
		if err != nil {
			r.report(at, "cannot be read")
			return members
		}
		_, twice := members[name]
		switch {
		case twice:
			r.report(at+"/"+escape(name), "is given twice")
		case !slices.Contains(known, name):
			r.report(at+"/"+escape(name), "is not a field of this")
		}
		members[name] = value
	}
	for _, name := range known {
		if _, given := members[name]; !given {
			r.report(at+"/"+name, "is missing")
		}
	}
	return members
}

func member(decoder *json.Decoder) (name string, value json.RawMessage, err error) {
	token, err := decoder.Token()
	if err != nil {
		return "", nil, err
	}
	name, _ = token.(string)
	return name, value, decoder.Decode(&value)
}

func (r *reader) array(at string, body json.RawMessage) (elements []json.RawMessage) {
	r.value(at, body, '[', "must be an array", &elements)
	return elements
}

func (r *reader) text(at string, body json.RawMessage) (text string) {
	r.value(at, body, '"', "must be a string", &text)
	return text
}

// value decodes body, whose first byte must be the first byte of the expected kind.
func (r *reader) value(at string, body json.RawMessage, first byte, expected string, into any) {
	if len(body) == 0 || body[0] != first || json.Unmarshal(body, into) != nil {
		r.report(at, expected)
	}
}

// integer accepts digits only. 1.0 and 1e2 are whole numbers too, but a client that writes them
// uses floats.
func (r *reader) integer(at string, body json.RawMessage) int64 {
	number, err := strconv.ParseInt(string(body), 10, 64)
	if err != nil {
		r.report(at, "must be a whole number, written in digits, that fits into 64 bits")
	}
	return number
}

// escape escapes a name for a JSON pointer. https://www.rfc-editor.org/rfc/rfc6901#section-3
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
