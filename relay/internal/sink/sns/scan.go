package sns

import (
	"bytes"
	"errors"
)

// errNotPlain means that a text is not the XML that [scanner] reads, or no XML.
var errNotPlain = errors.New("not plain XML")

// maxDepth is far above the depth of an answer. It bounds the stack for deeply nested ones.
const maxDepth = 32

// scanner reads XML of nested elements and plain texts, without a copy. SNS answers in this form if
// it accepted every message.
type scanner struct {
	rest  []byte
	empty bool // the element that was opened last is already closed: <Failed/>
	depth int  // elements around the one that is read
}

// scan reads the answer to a PublishBatch that accepted every message, and calls accepted with the
// Id and the MessageId of each.
func scan(answer []byte, accepted func(id, message []byte)) error {
	s := scanner{rest: bytes.TrimSpace(answer)}
	if bytes.HasPrefix(s.rest, []byte("<?xml ")) {
		_, s.rest, _ = bytes.Cut(s.rest, []byte("?>"))
		s.rest = bytes.TrimSpace(s.rest)
	}
	if name, closing, err := s.tag(); err != nil || closing || string(name) != "PublishBatchResponse" {
		return errNotPlain
	}
	return s.children(func(name []byte) error {
		if string(name) != "PublishBatchResult" {
			return s.skip()
		}
		return s.children(func(list []byte) error {
			if string(list) != "Successful" {
				return s.children(func([]byte) error { return errNotPlain }) // <Failed/>
			}
			return s.children(func([]byte) error { return s.member(accepted) })
		})
	})
}

func (s *scanner) member(accepted func(id, message []byte)) error {
	var id, message []byte
	err := s.children(func(name []byte) (err error) {
		switch string(name) {
		case "Id":
			id, err = s.text()
		case "MessageId":
			message, err = s.text()
		default:
			err = s.skip()
		}
		return err
	})
	accepted(id, message)
	return err
}

// children reads the content of the element that was opened last: elements or a text. For each
// element it calls child, which reads the content of that element.
func (s *scanner) children(child func(name []byte) error) error {
	if s.depth++; s.depth > maxDepth {
		return errNotPlain
	}
	defer func() { s.depth-- }()
	for !s.empty {
		if _, err := s.characters(); err != nil {
			return err
		}
		name, closing, err := s.tag()
		if err != nil || closing {
			return err
		}
		if err := child(name); err != nil {
			return err
		}
	}
	s.empty = false
	return nil
}

func (s *scanner) skip() error {
	return s.children(func([]byte) error { return s.skip() })
}

// text reads the content of the element that was opened last as a text.
func (s *scanner) text() ([]byte, error) {
	if s.empty {
		return nil, errNotPlain
	}
	text, err := s.characters()
	if err != nil {
		return nil, err
	}
	if _, closing, err := s.tag(); err != nil || !closing {
		return nil, errNotPlain
	}
	return text, nil
}

// characters reads up to the next tag.
func (s *scanner) characters() ([]byte, error) {
	end := bytes.IndexByte(s.rest, '<')
	if end < 0 || bytes.IndexByte(s.rest[:end], '&') >= 0 {
		return nil, errNotPlain
	}
	text := s.rest[:end]
	s.rest = s.rest[end:]
	return text, nil
}

// tag reads a tag. Its name excludes attributes. Namespaces are ignored.
func (s *scanner) tag() (name []byte, closing bool, err error) {
	end := bytes.IndexByte(s.rest, '>')
	if end < 2 || s.rest[0] != '<' || s.rest[1] == '!' || s.rest[1] == '?' {
		return nil, false, errNotPlain
	}
	name, s.rest = s.rest[1:end], s.rest[end+1:]
	if name, closing = bytes.CutPrefix(name, []byte("/")); !closing {
		name, s.empty = bytes.CutSuffix(name, []byte("/"))
	}
	name, _, _ = bytes.Cut(name, []byte(" "))
	return name, closing, nil
}
