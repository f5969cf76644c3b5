// Package awslambda decodes events from messages with which Lambda invokes a function. It does not
// import the AWS SDK.
package awslambda

import (
	"github.com/aws/aws-lambda-go/events"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// DecodeEvent is [inbox.DecodeDetail] for the event with which EventBridge invokes a function.
func DecodeEvent(e events.EventBridgeEvent) (inbox.Event, error) { return inbox.DecodeDetail(e.Detail) }

// Decode is [inbox.Decode] for a record of an [events.SQSEvent].
func Decode(m events.SQSMessage) (inbox.Event, error) { return inbox.Decode(Message(m)) }

// Message returns a record of an [events.SQSEvent] in the form of [inbox], for [inbox.Resolve].
func Message(m events.SQSMessage) inbox.Message {
	message := inbox.Message{Body: m.Body, Attributes: make(map[string]string, len(m.MessageAttributes))}
	for name, value := range m.MessageAttributes {
		if value.StringValue != nil {
			message.Attributes[name] = *value.StringValue
		}
	}
	return message
}
