package sns

import (
	"bytes"
	"errors"
)

// errNotPlain says that a text is XML of another kind than [scanner] reads, or no XML.
var errNotPlain = errors.New("not plain XML")

// maxDepth is far above that of an answer, so that nothing that is nested deeply takes a deep stack.
const maxDepth = 32

// scanner reads XML that is made of nested elements and plain texts only, without a copy: what SNS answers when it took
// every message.
type scanner struct {
	rest  []byte
	empty bool // the element that was opened last is closed already: <Failed/>
	depth int  // elements around the one that is read
}

// scan reads the answer to a PublishBatch that took every message, and calls taken with the Id of each.
func scan(answer []byte, taken func(id []byte)) error {
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
			return s.children(func([]byte) error { return s.member(taken) })
		})
	})
}

func (s *scanner) member(taken func(id []byte)) error {
	var id []byte
	err := s.children(func(name []byte) (err error) {
		if string(name) != "Id" {
			return s.skip()
		}
		id, err = s.text()
		return err
	})
	taken(id)
	return err
}

// children reads the content of the element that was opened last, which is elements or a text. For each element it calls
// child, which has to read that one's content.
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

// text reads the content of the element that was opened last, which is a text.
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

// tag reads a tag. Its name comes without attributes; a name space means nothing here.
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
