package messaging_test

import (
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

const want = "arn:aws:sqs:us-east-1:000000000000:order-events.fifo"

func TestTopicDeliversRawToTheQueueOfTheTemplate(t *testing.T) {
	t.Parallel()
	broker := startFake(t)
	outputs, err := messaging.Create(t.Context(), broker, templates(t))
	if err != nil {
		t.Fatal(err)
	}
	if outputs.QueueArn != want {
		t.Errorf("queue is %s, want %s", outputs.QueueArn, want)
	}
	again, err := messaging.Create(t.Context(), broker, templates(t))
	if err != nil || again != outputs {
		t.Errorf("created again: %+v (%v), want the same as before", again, err)
	}
	checkDelivery(t, broker, outputs)
	checkShipments(t, broker, outputs)
}

func TestStandardKindHasNoFifoAnywhere(t *testing.T) {
	t.Parallel()
	standard := templates(t)
	standard.Messaging = []byte(strings.Replace(string(standard.Messaging), `Default: "true"`, `Default: "false"`, 1))
	outputs, err := messaging.Create(t.Context(), startFake(t), standard)
	if err != nil {
		t.Fatal(err)
	}
	if outputs.TopicArn != "arn:aws:sns:us-east-1:000000000000:order-events" ||
		strings.Contains(outputs.DeadLetterQueueUrl, "fifo") || strings.Contains(outputs.Shipments.QueueUrl, "fifo") {
		t.Errorf("outputs are %+v", outputs)
	}
}

func TestWithoutCloudFormationTheQueueIsTheSame(t *testing.T) {
	t.Parallel()
	endpoint := os.Getenv("LOCALSTACK_ENDPOINT")
	if endpoint == "" {
		t.Skip("LOCALSTACK_ENDPOINT is not set")
	}
	deployed, err := messaging.Deploy(t.Context(), endpoint, templates(t))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := messaging.Deploy(t.Context(), endpoint, templates(t)); err != nil || again != deployed {
		t.Errorf("deployed again: %+v (%v), want the same as before", again, err)
	}
	checkDelivery(t, endpoint, deployed)
	checkShipments(t, endpoint, deployed)

	fake := startFake(t)
	created, err := messaging.Create(t.Context(), fake, templates(t))
	if err != nil {
		t.Fatal(err)
	}
	for deployed, created := range map[string]string{
		deployed.QueueUrl: created.QueueUrl, deployed.Shipments.QueueUrl: created.Shipments.QueueUrl,
	} {
		if diff := cmp.Diff(queueAttributes(t, endpoint, deployed), queueAttributes(t, fake, created)); diff != "" {
			t.Errorf("attributes by CloudFormation (-) and without it (+):\n%s", diff)
		}
	}
}

func TestTemplateBeyondWhatIsUnderstoodIsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"unknown type":     "Resources: {A: {Type: 'AWS::S3::Bucket', Properties: {}}}",
		"unknown function": "Resources: {A: {Type: 'AWS::SQS::Queue', Properties: {QueueName: !Select [0, [a]]}}}",
		"circle":           "Resources: {A: {Type: 'AWS::SQS::Queue', Properties: {QueueName: !Ref A}}}",
		"missing outputs":  "Resources: {}",
	} {
		templates := messaging.Templates{Messaging: []byte(text)}
		if _, err := messaging.Create(t.Context(), startFake(t), templates); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// checkDelivery publishes to the topic and reads the queue.
func checkDelivery(t *testing.T, endpoint string, outputs messaging.Outputs) {
	t.Helper()
	const body = `{"exactly": "this"}`
	_, err := sns.NewFromConfig(messaging.Config(endpoint)).Publish(t.Context(), &sns.PublishInput{
		TopicArn: aws.String(outputs.TopicArn), Message: aws.String(body),
		MessageGroupId: aws.String(t.Name()), MessageDeduplicationId: aws.String(t.Name()),
		MessageAttributes: map[string]snstypes.MessageAttributeValue{
			"event_id": {DataType: aws.String("String"), StringValue: aws.String("1")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	received, err := sqs.NewFromConfig(messaging.Config(endpoint)).ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(outputs.QueueUrl), WaitTimeSeconds: 10, MessageAttributeNames: []string{"All"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(received.Messages) != 1 || aws.ToString(received.Messages[0].Body) != body {
		t.Fatalf("received %+v, want one message with the body as published", received.Messages)
	}
	if got := aws.ToString(received.Messages[0].MessageAttributes["event_id"].StringValue); got != "1" {
		t.Errorf("attribute event_id is %q, want 1", got)
	}
}

// checkShipments publishes an event of another type and one that a shipment needs. Only the second
// one is in the queue of the shipments.
func checkShipments(t *testing.T, endpoint string, outputs messaging.Outputs) {
	t.Helper()
	for _, eventType := range []string{"order.cancelled", "order.created"} {
		_, err := sns.NewFromConfig(messaging.Config(endpoint)).Publish(t.Context(), &sns.PublishInput{
			TopicArn: aws.String(outputs.TopicArn), Message: aws.String(eventType),
			MessageGroupId: aws.String(eventType), MessageDeduplicationId: aws.String(t.Name() + eventType),
			MessageAttributes: map[string]snstypes.MessageAttributeValue{
				"event_type": {DataType: aws.String("String"), StringValue: aws.String(eventType)},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	received, err := sqs.NewFromConfig(messaging.Config(endpoint)).ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(outputs.Shipments.QueueUrl), WaitTimeSeconds: 10, MaxNumberOfMessages: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(received.Messages) != 1 || aws.ToString(received.Messages[0].Body) != "order.created" {
		t.Fatalf("received %+v, want order.created alone", received.Messages)
	}
}

// queueAttributes returns the attributes that the template sets.
func queueAttributes(t *testing.T, endpoint, queueURL string) map[string]string {
	t.Helper()
	names := []types.QueueAttributeName{
		"FifoQueue", "DeduplicationScope", "FifoThroughputLimit", "MaximumMessageSize", "MessageRetentionPeriod",
		"ReceiveMessageWaitTimeSeconds", "VisibilityTimeout", "SqsManagedSseEnabled", "QueueArn",
	}
	got, err := sqs.NewFromConfig(messaging.Config(endpoint)).GetQueueAttributes(t.Context(),
		&sqs.GetQueueAttributesInput{
			QueueUrl: aws.String(queueURL), AttributeNames: names,
		})
	if err != nil {
		t.Fatal(err)
	}
	return got.Attributes
}

func startFake(t *testing.T) string {
	t.Helper()
	fake, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fake.Close() })
	return fake.URL()
}

func templates(t *testing.T) messaging.Templates {
	t.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile("../../../infra/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	return messaging.Templates{Messaging: read("messaging.yaml"), Consumer: read("consumer.yaml")}
}
