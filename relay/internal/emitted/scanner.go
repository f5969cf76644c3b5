package emitted

import (
	"encoding/json"
	"iter"
	"strings"
)

const null = "null"

// scanner splits valid JSON, so it checks nothing. It leaves the bytes of each value as they are,
// and allocates nothing.
type scanner struct {
	text string
	at   int
}

// next skips white space, and returns the character that follows, or zero at the end.
func (s *scanner) next() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// members returns the names and values of the object that begins at s.at, as JSON.
func (s *scanner) members() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		s.at++ // the brace
		for s.next() != '}' {
			name := s.value()
			s.next()
			s.at++ // the colon
			if !yield(name, s.value()) {
				return
			}
			if s.next() == ',' {
				s.at++
			}
		}
	}
}

// value returns the JSON of the next value.
func (s *scanner) value() string {
	first := s.next()
	start := s.at
	switch first {
	case '"':
		s.skipString()
	case '{', '[':
		s.skipNested()
	default:
		s.at += strings.IndexAny(s.text[s.at:], ",}] \t\r\n") // an object ends behind it
	}
	return s.text[start:s.at]
}

func (s *scanner) skipString() {
	for s.at++; s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

func (s *scanner) skipNested() {
	for depth := 0; ; {
		switch s.text[s.at] {
		case '"':
			s.skipString()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if s.at++; depth == 0 {
			return
		}
	}
}

// unquote returns the text of a JSON string.
func unquote(quoted string) string {
	if !strings.Contains(quoted, `\`) {
		return quoted[1 : len(quoted)-1]
	}
	var text string
	_ = json.Unmarshal([]byte(quoted), &text) // it is valid
	return text
}
