package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// receipt is one received event.
type receipt struct {
	handle                                string // for the queue
	eventID, eventType, aggregateID, body string
	occurredAt, receivedAt                time.Time
}

func (r receipt) delay() time.Duration {
	return r.receivedAt.Sub(r.occurredAt).Round(100 * time.Microsecond)
}

// reader reads the queue.
type reader struct {
	client *sqs.Client
	queue  *string
}

func newReader(endpoint, queue string) *reader {
	return &reader{client: sqs.NewFromConfig(messaging.Config(endpoint)), queue: aws.String(queue)}
}

// pollWait is the time in seconds that SQS waits for a message. LocalStack still answers a request
// that ended with ctx, and the next message is then hidden from the user's first command.
const pollWait = 1

// read sends everything that arrives until ctx ends, which is no error.
func (r *reader) read(ctx context.Context, arrived chan<- receipt) error {
	for {
		got, err := r.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: r.queue, MaxNumberOfMessages: 10, WaitTimeSeconds: pollWait,
			MessageAttributeNames: []string{"All"},
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the queue: %w", err)
		}
		for _, message := range got.Messages {
			select {
			case arrived <- newReceipt(message, time.Now()):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

func newReceipt(message types.Message, now time.Time) receipt {
	attribute := func(name string) string { return aws.ToString(message.MessageAttributes[name].StringValue) }
	occurredAt, err := time.Parse(time.RFC3339, attribute(outbox.AttributeOccurredAt))
	if err != nil {
		occurredAt = now // the message is not an event of the relay
	}
	return receipt{
		handle: aws.ToString(message.ReceiptHandle), body: aws.ToString(message.Body),
		eventID: attribute(outbox.AttributeEventID), eventType: attribute(outbox.AttributeEventType),
		aggregateID: attribute(outbox.AttributeAggregateID), occurredAt: occurredAt, receivedAt: now,
	}
}

// settle deletes the messages of this demo and makes the others visible again.
func (r *reader) settle(ctx context.Context, receipts []receipt, ours func(receipt) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var problems []error
	for batch := range slices.Chunk(receipts, 10) {
		var remove []types.DeleteMessageBatchRequestEntry
		var release []types.ChangeMessageVisibilityBatchRequestEntry
		for i, one := range batch {
			id, handle := aws.String(strconv.Itoa(i)), aws.String(one.handle)
			if ours(one) {
				remove = append(remove, types.DeleteMessageBatchRequestEntry{Id: id, ReceiptHandle: handle})
			} else {
				release = append(release, types.ChangeMessageVisibilityBatchRequestEntry{Id: id, ReceiptHandle: handle})
			}
		}
		if len(remove) > 0 {
			_, err := r.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: r.queue, Entries: remove})
			problems = append(problems, err)
		}
		if len(release) > 0 {
			_, err := r.client.ChangeMessageVisibilityBatch(ctx,
				&sqs.ChangeMessageVisibilityBatchInput{QueueUrl: r.queue, Entries: release})
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
