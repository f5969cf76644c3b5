// Package awsjson writes and reads the JSON of AWS' services, as far as the relay needs it for
// every event: encoding/json costs several times as much.
package awsjson

import (
	"encoding/binary"
	"slices"
)

// escapes has, for each byte that needs an escape in a JSON string, the character after the
// backslash: a letter, or u for a number. Characters beyond ASCII are UTF-8 and stay as they are.
//
// https://www.rfc-editor.org/rfc/rfc8259#section-7
var escapes = func() (table [256]byte) {
	for c := range ' ' {
		table[c] = 'u'
	}
	table['\n'], table['\r'], table['\t'], table['"'], table['\\'] = 'n', 'r', 't', '"', '\\'
	return table
}()

// AppendMember appends the text before a string, and the string, in pieces with capacity for the
// worst case. That takes less time than appending bytes.
func AppendMember[S string | []byte](text []byte, before string, s S) []byte {
	const piece, longest = 256, len(`\u0000`)
	text = append(text, before...)
	text = append(text, '"')
	for len(s) > 0 {
		n := min(piece, len(s))
		text = slices.Grow(text, longest*n)
		at := write(text[len(text):len(text)+longest*n], s[:n])
		text, s = text[:len(text)+at], s[n:]
	}
	return append(text, '"')
}

// write writes s to room, eight bytes at a time if none of them needs an escape. It returns the
// number of written bytes.
func write[S string | []byte](room []byte, s S) (at int) {
	const digits = "0123456789abcdef"
	for i := 0; i < len(s); {
		if len(s)-i >= 8 {
			if word := wordOf(s[i:]); isPlain(word) {
				binary.LittleEndian.PutUint64(room[at:], word)
				i, at = i+8, at+8
				continue
			}
		}
		for end := min(i+8, len(s)); i < end; i++ {
			switch c, escape := s[i], escapes[s[i]]; escape {
			case 0:
				room[at] = c
				at++
			case 'u':
				at += copy(room[at:], `\u00`)
				room[at], room[at+1] = digits[c>>4], digits[c&15]
				at += 2
			default:
				room[at], room[at+1] = '\\', escape
				at += 2
			}
		}
	}
	return at
}

// wordOf returns the first eight bytes of s.
func wordOf[S string | []byte](s S) uint64 {
	b := s[:8]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// isPlain reports whether none of the eight bytes of a word needs an escape. The high bit of a
// difference is set where the byte is too small, and a byte that had the bit before does not count.
// No subtraction borrows from the next byte unless a byte needs an escape.
func isPlain(word uint64) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	quote, backslash := word^'"'*each, word^'\\'*each
	return ((word-' '*each)&^word|(quote-each)&^quote|(backslash-each)&^backslash)&high == 0
}
