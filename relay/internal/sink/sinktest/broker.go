package sinktest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

func (s suite) createQueue(t *testing.T, name string, attributes map[string]string) (url, arn string) {
	t.Helper()
	attributes = withFIFO(name, "FifoQueue", attributes)
	created, err := s.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := s.sqs.DeleteQueue(context.Background(), &sqs.DeleteQueueInput{QueueUrl: created.QueueUrl})
		if err != nil && sink.Code(err) != "NonExistentQueue" {
			t.Error(err)
		}
	})
	read, err := s.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: created.QueueUrl, AttributeNames: []types.QueueAttributeName{"QueueArn"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *created.QueueUrl, read.Attributes["QueueArn"]
}

func (s suite) createTopic(t *testing.T, name string, attributes map[string]string) (arn string) {
	t.Helper()
	attributes = withFIFO(name, "FifoTopic", attributes)
	created, err := s.sns.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.sns.DeleteTopic(context.Background(),
			&sns.DeleteTopicInput{TopicArn: created.TopicArn}); err != nil {
			t.Error(err)
		}
	})
	return *created.TopicArn
}

// setMaximumMessageSize changes the limit of the topic or queue of d.
func (s suite) setMaximumMessageSize(t *testing.T, d *destination, size string) {
	t.Helper()
	const name = "MaximumMessageSize"
	var err error
	switch {
	case strings.HasPrefix(d.arn, "arn:aws:sqs:"):
		_, err = s.sqs.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
			QueueUrl: &d.queueURL, Attributes: map[string]string{name: size},
		})
	default:
		_, err = s.sns.SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{
			TopicArn: &d.arn, AttributeName: aws.String(name), AttributeValue: &size,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func withFIFO(name, attribute string, attributes map[string]string) map[string]string {
	all := maps.Clone(attributes)
	if strings.HasSuffix(name, ".fifo") {
		if all == nil {
			all = map[string]string{}
		}
		all[attribute] = "true"
	}
	return all
}

func (s suite) subscribe(t *testing.T, topicARN, queueARN string) {
	t.Helper()
	_, err := s.sns.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: &topicARN, Protocol: aws.String("sqs"), Endpoint: &queueARN,
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// remove deletes the topic, queue or bus that d sends to.
func (d *destination) remove(t *testing.T, k kind) {
	t.Helper()
	var err error
	switch k.service {
	case sink.EventBridge:
		d.deleteBus(t, d.name)
	case sink.SNS:
		_, err = d.sns.DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &d.arn})
	default:
		_, err = d.sqs.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &d.queueURL})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// receive returns exactly n messages in the order of their receipt, and fails the test if there are
// more or fewer.
func (d *destination) receive(t *testing.T, n int) []*sink.Message {
	t.Helper()
	var messages []*sink.Message
	for _, m := range d.receiveAsSent(t, n) {
		if d.kind.service == sink.EventBridge {
			_, message := readEvent(t, m)
			messages = append(messages, message)
			continue
		}
		messages = append(messages, read(m))
	}
	return messages
}

// receiveAsSent is [destination.receive] for messages as the queue has them.
func (d *destination) receiveAsSent(t *testing.T, n int) []types.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var received []types.Message
	for len(received) < n {
		received = append(received, d.receiveSome(ctx, t, 1)...)
	}
	received = append(received, d.receiveSome(ctx, t, d.Settle)...)
	if len(received) != n {
		t.Fatalf("received %d messages, want %d", len(received), n)
	}
	return received
}

func (d *destination) receiveSome(ctx context.Context, t *testing.T, wait int32) []types.Message {
	t.Helper()
	answer, err := d.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &d.queueURL, MaxNumberOfMessages: 10, WaitTimeSeconds: wait,
		MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	})
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	for _, m := range answer.Messages {
		_, err := d.sqs.DeleteMessage(ctx,
			&sqs.DeleteMessageInput{QueueUrl: &d.queueURL, ReceiptHandle: m.ReceiptHandle})
		if err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	return answer.Messages
}

// arrivalOf returns m as [read] returns it: a standard destination gets the tenant and no
// deduplication id.
func arrivalOf(m *sink.Message, k kind) *sink.Message {
	if k.service == sink.EventBridge {
		return eventOf(m)
	}
	arrived := *m
	arrived.Type = ""
	arrived.GroupID, arrived.TenantID = m.MessageGroupID(k.fifo), ""
	if !k.fifo {
		arrived.DeduplicationID = ""
	}
	return &arrived
}

// read translates a received message back into the sent one. Attributes come in the order of their
// names.
func read(m types.Message) *sink.Message {
	message := &sink.Message{
		Body: *m.Body, GroupID: m.Attributes["MessageGroupId"], DeduplicationID: m.Attributes["MessageDeduplicationId"],
	}
	for _, name := range sortedKeys(m.MessageAttributes) {
		a := m.MessageAttributes[name]
		message.Attributes = append(message.Attributes, sink.Attribute{
			Name: name, DataType: sink.ParseDataType(*a.DataType), Value: aws.ToString(a.StringValue),
		})
		if name == "event_id" {
			message.EventID = *a.StringValue
		}
	}
	return message
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// eventually waits until met holds.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !met() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
