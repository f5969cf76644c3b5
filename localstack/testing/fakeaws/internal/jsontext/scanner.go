// Package jsontext reads JSON from a string piece by piece, and copies only text with escapes. It
// exists because the fake is also the benchmark's broker: encoding/json would cost more than the
// relay that it measures.
package jsontext

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrSyntax means that the text is not the expected JSON.
var ErrSyntax = errors.New("not the expected JSON")

// Scanner is a position in a text.
type Scanner struct {
	text string
	at   int
}

// NewScanner returns a scanner at the start of text.
func NewScanner(text string) *Scanner { return &Scanner{text: text} }

// next skips white space and returns the next byte, or 0 at the end.
func (s *Scanner) next() byte {
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

// accept reports whether the next byte is c, and skips it if so.
func (s *Scanner) accept(c byte) bool {
	if s.next() != c {
		return false
	}
	s.at++
	return true
}

// Object reads an object. It calls member for each member, and member must read the value.
func (s *Scanner) Object(member func(name string) error) error {
	return s.list('{', '}', func() error {
		name, err := s.String()
		if err != nil {
			return err
		}
		if !s.accept(':') {
			return ErrSyntax
		}
		return member(name)
	})
}

// Array reads an array. It calls element for each element, and element must read it.
func (s *Scanner) Array(element func() error) error { return s.list('[', ']', element) }

func (s *Scanner) list(opening, closing byte, element func() error) error {
	if !s.accept(opening) {
		return ErrSyntax
	}
	if s.accept(closing) {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.accept(closing) {
			return nil
		}
		if !s.accept(',') {
			return ErrSyntax
		}
	}
}

// Int reads an integer.
func (s *Scanner) Int() (int, error) {
	s.next()
	n, err := strconv.Atoi(s.word())
	if err != nil {
		return 0, ErrSyntax
	}
	return n, nil
}

// word skips letters, digits and the other characters of numbers, true, false and null.
func (s *Scanner) word() string {
	start := s.at
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n,:]}", s.text[s.at]) < 0 {
		s.at++
	}
	return s.text[start:s.at]
}

// Skip reads any value.
func (s *Scanner) Skip() error {
	switch s.next() {
	case '{':
		return s.Object(func(string) error { return s.Skip() })
	case '[':
		return s.Array(s.Skip)
	case '"':
		_, err := s.String()
		return err
	}
	if s.word() == "" {
		return ErrSyntax
	}
	return nil
}

// String reads a string, or null as an empty one.
func (s *Scanner) String() (string, error) {
	if s.next() != '"' {
		if s.word() == "null" {
			return "", nil
		}
		return "", ErrSyntax
	}
	s.at++
	rest := s.text[s.at:]
	end := strings.IndexByte(rest, '"')
	if end < 0 {
		return "", ErrSyntax
	}
	if strings.IndexByte(rest[:end], '\\') < 0 {
		s.at += end + 1
		return rest[:end], nil
	}
	if end = closingQuote(rest); end < 0 {
		return "", ErrSyntax
	}
	s.at += end + 1
	return unescape(rest[:end])
}

// closingQuote returns the end of the string at the start of text, or -1.
func closingQuote(text string) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// unescape decodes the escapes in the inside of a string.
func unescape(text string) (string, error) {
	var plain strings.Builder
	plain.Grow(len(text))
	for {
		before, after, found := strings.Cut(text, `\`)
		plain.WriteString(before)
		if !found {
			return plain.String(), nil
		}
		var err error
		if text, err = escape(&plain, after); err != nil {
			return "", err
		}
	}
}

// escape decodes the escape at the start of text (after its backslash), and returns the rest of the
// text.
func escape(plain *strings.Builder, text string) (string, error) {
	if text == "" {
		return "", ErrSyntax
	}
	if text[0] == 'u' {
		return escapeUnicode(plain, text)
	}
	const letters, bytes = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	i := strings.IndexByte(letters, text[0])
	if i < 0 {
		return "", ErrSyntax
	}
	plain.WriteByte(bytes[i])
	return text[1:], nil
}

func escapeUnicode(plain *strings.Builder, text string) (string, error) {
	r, err := hexRune(text)
	if err != nil {
		return "", err
	}
	text = text[5:]
	if utf16.IsSurrogate(r) && strings.HasPrefix(text, `\u`) {
		low, err := hexRune(text[1:])
		if err != nil {
			return "", err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			plain.WriteRune(pair)
			return text[6:], nil
		}
	}
	plain.WriteRune(r) // half a surrogate pair becomes U+FFFD, as in encoding/json
	return text, nil
}

// hexRune reads u and four hexadecimal digits.
func hexRune(text string) (rune, error) {
	if len(text) < 5 {
		return 0, ErrSyntax
	}
	n, err := strconv.ParseUint(text[1:5], 16, 32)
	if err != nil {
		return 0, ErrSyntax
	}
	return rune(n), nil
}
