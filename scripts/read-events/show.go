package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// line is one event in a pipe. Body is the body as it is, text or JSON alike, so that nothing of it
// is lost.
type line struct {
	ReceivedAt   time.Time         `json:"received_at"`
	MessageID    string            `json:"message_id"`
	MessageGroup string            `json:"message_group_id,omitempty"`
	ReceiveCount string            `json:"receive_count,omitempty"`
	Attributes   map[string]string `json:"attributes"`
	Body         string            `json:"body"`
}

func showJSON(out io.Writer) func(types.Message) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return func(message types.Message) error {
		err := encoder.Encode(line{
			ReceivedAt:   time.Now().UTC(),
			MessageID:    aws.ToString(message.MessageId),
			MessageGroup: message.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)],
			ReceiveCount: message.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)],
			Attributes:   attributesOf(message),
			Body:         aws.ToString(message.Body),
		})
		if err != nil {
			return fmt.Errorf("print event: %w", err)
		}
		return nil
	}
}

func showPretty(out io.Writer) func(types.Message) error {
	return func(message types.Message) error {
		attributes := attributesOf(message)
		var text bytes.Buffer
		fmt.Fprintf(&text, "%s  %s  %s %s\n", time.Now().Format("15:04:05.000"),
			attributes[outbox.AttributeEventType], attributes[outbox.AttributeAggregateType],
			attributes[outbox.AttributeAggregateID])
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			fmt.Fprintf(&text, "    %-16s %s\n", name, attributes[name])
		}
		text.WriteString("    ") // Indent leaves the first line to its caller
		if err := json.Indent(&text, []byte(aws.ToString(message.Body)), "    ", "  "); err != nil {
			text.WriteString(aws.ToString(message.Body)) // no JSON
		}
		text.WriteString("\n\n")
		_, err := text.WriteTo(out)
		return err
	}
}

func attributesOf(message types.Message) map[string]string {
	attributes := map[string]string{}
	for name, value := range message.MessageAttributes {
		attributes[name] = aws.ToString(value.StringValue)
	}
	return attributes
}
