package sqs

import "github.com/outbox-relay/outbox-relay/relay/internal/sink/awsjson"

// success is an entry that SQS accepted.
type success struct{ id, messageID, bodyMD5 []byte }

// scan reads the answer to a SendMessageBatch that accepted every message, and calls accepted for
// each.
func scan(answer []byte, accepted func(success)) error {
	s := awsjson.NewScanner(answer)
	err := s.Object(func(list []byte) error {
		if string(list) != "Successful" {
			return s.EmptyArray()
		}
		return s.Array(func() error {
			var e success
			err := s.Object(func(name []byte) (err error) {
				value, err := s.Text()
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
			accepted(e)
			return err
		})
	})
	if err != nil {
		return err
	}
	return s.End()
}
