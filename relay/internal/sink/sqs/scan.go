package sqs

import "errors"

// errNotPlain means that a text is not the JSON that [scanner] reads, or no JSON.
var errNotPlain = errors.New("not plain JSON")

// scanner reads JSON without escapes and numbers, without a copy. SQS answers in this form if it
// accepted every message.
type scanner struct{ rest []byte }

// success is an entry that SQS accepted.
type success struct{ id, messageID, bodyMD5 []byte }

// scan reads the answer to a SendMessageBatch that accepted every message, and calls taken for
// each.
func scan(answer []byte, taken func(success)) error {
	s := scanner{answer}
	err := s.object(func(list []byte) error {
		if string(list) != "Successful" {
			return s.emptyList()
		}
		return s.list('[', ']', func() error {
			var e success
			err := s.object(func(name []byte) (err error) {
				value, err := s.text()
				switch string(name) {
				case "Id":
					e.id = value
				case "MessageId":
					e.messageID = value
				case "MD5OfMessageBody":
					e.bodyMD5 = value
				}
				return err
			})
			taken(e)
			return err
		})
	})
	if s.skipSpace(); err == nil && len(s.rest) > 0 {
		return errNotPlain
	}
	return err
}

func (s *scanner) object(member func(name []byte) error) error {
	return s.list('{', '}', func() error {
		name, err := s.text()
		if err != nil || !s.accept(':') {
			return errNotPlain
		}
		return member(name)
	})
}

func (s *scanner) list(opening, closing byte, element func() error) error {
	if !s.accept(opening) {
		return errNotPlain
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
			return errNotPlain
		}
	}
}

func (s *scanner) emptyList() error {
	if s.accept('[') && s.accept(']') {
		return nil
	}
	return errNotPlain
}

// text reads a string.
func (s *scanner) text() ([]byte, error) {
	if !s.accept('"') {
		return nil, errNotPlain
	}
	for i, c := range s.rest {
		switch {
		case c == '"':
			text := s.rest[:i]
			s.rest = s.rest[i+1:]
			return text, nil
		case c == '\\', c < ' ':
			return nil, errNotPlain
		}
	}
	return nil, errNotPlain
}

// accept reports whether c comes next, and skips it if so.
func (s *scanner) accept(c byte) bool {
	s.skipSpace()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) skipSpace() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\r' || s.rest[0] == '\t') {
		s.rest = s.rest[1:]
	}
}
