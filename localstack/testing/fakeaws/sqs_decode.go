package fakeaws

import (
	"encoding/base64"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/jsontext"
)

// decodeSendBatch decodes the body of a SendMessageBatch.
func decodeSendBatch(body string) (*batch, error) {
	b := &batch{entries: make([]entry, 0, 10)}
	s := jsontext.NewScanner(body)
	err := s.Object(func(name string) (err error) {
		switch name {
		case "QueueUrl":
			b.target, err = s.String()
		case "Entries":
			err = s.Array(func() error {
				b.entries = append(b.entries, entry{})
				e := &b.entries[len(b.entries)-1]
				return s.Object(func(name string) error { return decodeSendMember(s, e, name) })
			})
		default:
			err = s.Skip()
		}
		return err
	})
	return b, err
}

// decodeSend decodes the body of a SendMessage.
func decodeSend(body string) (*batch, error) {
	b := &batch{entries: make([]entry, 1), single: true}
	s := jsontext.NewScanner(body)
	err := s.Object(func(name string) (err error) {
		if name == "QueueUrl" {
			b.target, err = s.String()
			return err
		}
		return decodeSendMember(s, &b.entries[0], name)
	})
	return b, err
}

// decodeSendMember decodes one member of a message, which is a whole request or an entry.
func decodeSendMember(s *jsontext.Scanner, e *entry, name string) (err error) {
	switch name {
	case "Id":
		e.id, err = s.String()
	case "MessageBody":
		e.message.Body, err = s.String()
	case "MessageGroupId":
		e.hasGroup = true
		e.message.GroupID, err = s.String()
	case "MessageDeduplicationId":
		e.hasDedup = true
		e.message.DeduplicationID, err = s.String()
	case "DelaySeconds":
		var delay int
		delay, err = s.Int()
		e.delay = &delay
	case "MessageAttributes":
		e.message.Attributes = make([]Attribute, 0, 8) // the number that the relay sends
		err = s.Object(func(name string) error {
			e.message.Attributes = append(e.message.Attributes, Attribute{Name: name})
			a := &e.message.Attributes[len(e.message.Attributes)-1]
			return s.Object(func(name string) error { return decodeAttributeMember(s, a, name) })
		})
	case "MessageSystemAttributes":
		err = s.Object(func(name string) error {
			var a Attribute
			err := s.Object(func(name string) error { return decodeAttributeMember(s, &a, name) })
			if name == traceHeader {
				e.message.TraceHeader = a.StringValue
			}
			return err
		})
	default:
		err = s.Skip()
	}
	return err
}

func decodeAttributeMember(s *jsontext.Scanner, a *Attribute, name string) (err error) {
	switch name {
	case "DataType":
		a.DataType, err = s.String()
	case "StringValue":
		a.StringValue, err = s.String()
	case "BinaryValue":
		var text string
		if text, err = s.String(); err == nil {
			a.BinaryValue, err = base64.StdEncoding.DecodeString(text)
		}
	default:
		err = s.Skip()
	}
	return err
}
