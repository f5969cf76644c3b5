package awsjson

import "errors"

// ErrNotPlain means that a text is not the JSON that [Scanner] reads, or no JSON.
var ErrNotPlain = errors.New("not plain JSON")

// Scanner reads JSON with neither escapes nor fractions, without a copy. SQS and EventBridge answer
// in this form if they accepted every message. The zero Scanner has nothing to read.
type Scanner struct{ rest []byte }

// NewScanner returns a Scanner at the beginning of text.
func NewScanner(text []byte) Scanner { return Scanner{text} }

// Object reads an object. It calls member for each member, and member has to read the value.
func (s *Scanner) Object(member func(name []byte) error) error {
	return s.list('{', '}', func() error {
		name, err := s.Text()
		if err != nil || !s.accept(':') {
			return ErrNotPlain
		}
		return member(name)
	})
}

// Array reads an array. It calls element for each element, and element has to read it.
func (s *Scanner) Array(element func() error) error { return s.list('[', ']', element) }

func (s *Scanner) list(opening, closing byte, element func() error) error {
	if !s.accept(opening) {
		return ErrNotPlain
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
			return ErrNotPlain
		}
	}
}

// EmptyArray reads an array without elements.
func (s *Scanner) EmptyArray() error {
	if s.accept('[') && s.accept(']') {
		return nil
	}
	return ErrNotPlain
}

// Zero reads the number 0.
func (s *Scanner) Zero() error {
	if !s.accept('0') {
		return ErrNotPlain
	}
	return nil
}

// Text reads a string.
func (s *Scanner) Text() ([]byte, error) {
	if !s.accept('"') {
		return nil, ErrNotPlain
	}
	for i, c := range s.rest {
		switch {
		case c == '"':
			text := s.rest[:i]
			s.rest = s.rest[i+1:]
			return text, nil
		case c == '\\', c < ' ':
			return nil, ErrNotPlain
		}
	}
	return nil, ErrNotPlain
}

// End returns an error if anything but white space follows.
func (s *Scanner) End() error {
	if s.skipSpace(); len(s.rest) > 0 {
		return ErrNotPlain
	}
	return nil
}

// accept reports whether c comes next, and skips it if so.
func (s *Scanner) accept(c byte) bool {
	s.skipSpace()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *Scanner) skipSpace() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\r' || s.rest[0] == '\t') {
		s.rest = s.rest[1:]
	}
}
