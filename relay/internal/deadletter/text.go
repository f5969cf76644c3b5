package deadletter

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// pieceBytes is the length of a text from which it is encoded and decoded in pieces of about this
// length.
const pieceBytes = 64 << 10

// text is a text of a stored message. Package json makes several copies of a long one, because its
// buffers double and it removes escapes in a buffer of its own. A text of many MB has one copy
// here.
type text string

// encode returns m as [json.Marshal] writes it. It makes one copy of a long body, where Marshal
// makes several, because its buffers double.
func (m message) encode() (string, error) {
	body := string(m.Body)
	if len(body) > pieceBytes {
		m.Body = ""
	}
	whole, err := json.Marshal(m)
	if err != nil || string(m.Body) == body {
		return string(whole), err
	}
	const before = `{"body":"`
	size := len(whole)
	encodeText(body, func(piece []byte) { size += len(piece) })
	var stored strings.Builder
	stored.Grow(size)
	stored.WriteString(before)
	encodeText(body, func(piece []byte) { stored.Write(piece) })
	stored.Write(whole[len(before):])
	return stored.String(), nil
}

// encodeText calls use with the pieces of a JSON string, without its quotes.
func encodeText(text string, use func(piece []byte)) {
	for len(text) > 0 {
		end := min(pieceBytes, len(text))
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end--
		}
		piece, _ := json.Marshal(text[:end]) // cannot fail for a text
		use(piece[1 : len(piece)-1])
		text = text[end:]
	}
}

// UnmarshalJSON implements [json.Unmarshaler].
func (t *text) UnmarshalJSON(quoted []byte) error {
	if len(quoted) <= pieceBytes {
		return json.Unmarshal(quoted, (*string)(t))
	}
	length := 0
	if err := decodeText(quoted, func(piece string) { length += len(piece) }); err != nil {
		return err
	}
	var decoded strings.Builder
	decoded.Grow(length)
	err := decodeText(quoted, func(piece string) { decoded.WriteString(piece) })
	*t = text(decoded.String())
	return err
}

// decodeText calls use with the pieces of the text that a JSON string has.
func decodeText(quoted []byte, use func(piece string)) error {
	var piece string
	for rest := quoted[1 : len(quoted)-1]; len(rest) > 0; {
		end := pieceEnd(rest)
		if err := json.Unmarshal(slices.Concat(quote, rest[:end], quote), &piece); err != nil {
			return err
		}
		use(piece)
		rest = rest[end:]
	}
	return nil
}

var quote = []byte{'"'}

// pieceEnd returns where the first piece of a JSON string without its quotes ends: behind a whole
// character.
func pieceEnd(quoted []byte) int {
	end := 0
	for end < min(pieceBytes, len(quoted)) {
		end += escapeLength(quoted[end:])
	}
	for end < len(quoted) && !utf8.RuneStart(quoted[end]) {
		end++
	}
	return end
}

// escapeLength returns the length of the escapes of one character at the beginning of a JSON
// string: those of a surrogate pair belong together. It returns 1 if the string begins otherwise.
func escapeLength(quoted []byte) int {
	switch {
	case quoted[0] != '\\':
		return 1
	case quoted[1] != 'u':
		return len(`\n`)
	}
	first, err := strconv.ParseUint(string(quoted[2:6]), 16, 16)
	if err == nil && utf16.IsSurrogate(rune(first)) && bytes.HasPrefix(quoted[6:], []byte(`\u`)) {
		return len(`\ud83d\ude00`)
	}
	return len(`\u2028`)
}
