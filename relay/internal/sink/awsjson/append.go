// Package awsjson writes and reads the JSON of AWS' services, as far as the relay needs it for
// every event: encoding/json costs several times as much.
package awsjson

import "slices"

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
	const digits = "0123456789abcdef"
	const piece, longest = 256, len(`\u0000`)
	text = append(text, before...)
	text = append(text, '"')
	for len(s) > 0 {
		n := min(piece, len(s))
		text = slices.Grow(text, longest*n)
		room := text[len(text) : len(text)+longest*n]
		at := 0
		for i := range n {
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
		text, s = text[:len(text)+at], s[n:]
	}
	return append(text, '"')
}
