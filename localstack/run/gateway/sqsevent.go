package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// newSQSEvent returns the event with which Lambda invokes a function for messages of a queue.
// https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-standard-queue-message-event
func newSQSEvent(queueARN, region string, messages []types.Message) events.SQSEvent {
	var event events.SQSEvent
	for _, m := range messages {
		event.Records = append(event.Records, events.SQSMessage{
			MessageId: aws.ToString(m.MessageId), ReceiptHandle: aws.ToString(m.ReceiptHandle),
			Body: aws.ToString(m.Body), Md5OfBody: aws.ToString(m.MD5OfBody),
			Md5OfMessageAttributes: aws.ToString(m.MD5OfMessageAttributes),
			Attributes:             m.Attributes, MessageAttributes: messageAttributes(m),
			EventSource: "aws:sqs", EventSourceARN: queueARN, AWSRegion: region,
		})
	}
	return event
}

func messageAttributes(m types.Message) map[string]events.SQSMessageAttribute {
	attributes := map[string]events.SQSMessageAttribute{}
	for name, value := range m.MessageAttributes {
		attributes[name] = events.SQSMessageAttribute{
			DataType: aws.ToString(value.DataType), StringValue: value.StringValue, BinaryValue: value.BinaryValue,
			StringListValues: []string{}, BinaryListValues: [][]byte{},
		}
	}
	return attributes
}

// failedMessages returns the ids of the messages that a function reports. Lambda counts the whole
// batch as failed if the answer is not understood.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
func failedMessages(answer []byte, messages []types.Message) (failed map[string]bool, err error) {
	if answer = bytes.TrimSpace(answer); len(answer) == 0 || bytes.Equal(answer, []byte("null")) {
		return nil, nil
	}
	var report struct {
		BatchItemFailures []struct {
			ItemIdentifier string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(answer, &report); err != nil {
		return nil, fmt.Errorf("the report of failed messages is not understood: %w", err)
	}
	failed, known := map[string]bool{}, map[string]bool{}
	for _, m := range messages {
		known[aws.ToString(m.MessageId)] = true
	}
	for _, failure := range report.BatchItemFailures {
		if !known[failure.ItemIdentifier] {
			return nil, fmt.Errorf("the function reports %q, which is no message of the batch", failure.ItemIdentifier)
		}
		failed[failure.ItemIdentifier] = true
	}
	return failed, nil
}
