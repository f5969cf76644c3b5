// Package awssdk decodes events from messages that the AWS SDK for Go v2 received.
package awssdk

import (
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// Decode is [inbox.Decode] for a message of ReceiveMessage. Request its attributes: set
// MessageAttributeNames to All.
func Decode(m types.Message) (inbox.Event, error) { return inbox.Decode(Message(m)) }

// Message returns a message of ReceiveMessage in the form of [inbox], for [inbox.Resolve].
func Message(m types.Message) inbox.Message {
	message := inbox.Message{Attributes: make(map[string]string, len(m.MessageAttributes))}
	if m.Body != nil {
		message.Body = *m.Body
	}
	for name, value := range m.MessageAttributes {
		if value.StringValue != nil {
			message.Attributes[name] = *value.StringValue
		}
	}
	return message
}
