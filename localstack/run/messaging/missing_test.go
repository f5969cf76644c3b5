package messaging_test

import (
	"context"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// create is [messaging.Create] or [messaging.Deploy].
type create func(ctx context.Context, endpoint string, templates messaging.Templates) (messaging.Outputs, error)

func TestDeletedTopicAndQueuesAreRestored(t *testing.T) {
	t.Parallel()
	broker := startFake(t)
	checkRestored(t, broker, messaging.Create)
}

// TestDeletedPartsOfAStackAreRestored waits for no parallel test, because a broker has one stack.
func TestDeletedPartsOfAStackAreRestored(t *testing.T) {
	endpoint := os.Getenv("LOCALSTACK_ENDPOINT")
	if endpoint == "" {
		t.Skip("LOCALSTACK_ENDPOINT is not set")
	}
	checkRestored(t, endpoint, messaging.Deploy)
}

// checkRestored deletes one part after the other and creates the template again each time.
func checkRestored(t *testing.T, endpoint string, create create) {
	t.Helper()
	outputs, err := create(t.Context(), endpoint, templates(t))
	if err != nil {
		t.Fatal(err)
	}
	topics, queues := sns.NewFromConfig(messaging.Config(endpoint)), sqs.NewFromConfig(messaging.Config(endpoint))
	deleteQueue := func(url string) error {
		_, err := queues.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: aws.String(url)})
		return err
	}
	for _, c := range []struct {
		missing string
		remove  func() error
	}{
		{"topic " + outputs.TopicArn, func() error {
			_, err := topics.DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: aws.String(outputs.TopicArn)})
			return err
		}},
		{"queue " + outputs.QueueUrl, func() error { return deleteQueue(outputs.QueueUrl) }},
		{"queue " + outputs.DeadLetterQueueUrl, func() error { return deleteQueue(outputs.DeadLetterQueueUrl) }},
		{"queue " + outputs.UndeliveredQueueUrl, func() error { return deleteQueue(outputs.UndeliveredQueueUrl) }},
		{"queue " + outputs.Shipments.QueueUrl, func() error { return deleteQueue(outputs.Shipments.QueueUrl) }},
		{"queue " + outputs.Shipments.DeadLetterQueueUrl, func() error {
			return deleteQueue(outputs.Shipments.DeadLetterQueueUrl)
		}},
		{"queue " + outputs.Shipments.UndeliveredQueueUrl, func() error {
			return deleteQueue(outputs.Shipments.UndeliveredQueueUrl)
		}},
		{"subscription of " + outputs.Shipments.QueueArn + " to " + outputs.TopicArn, func() error {
			return unsubscribe(t, topics, outputs.TopicArn, outputs.Shipments.QueueArn)
		}},
		{"subscription of " + outputs.QueueArn + " to " + outputs.TopicArn, func() error {
			return unsubscribe(t, topics, outputs.TopicArn, outputs.QueueArn)
		}},
	} {
		if err := c.remove(); err != nil {
			t.Fatalf("remove %s: %v", c.missing, err)
		}
		missing, err := messaging.Missing(t.Context(), endpoint, outputs)
		if err != nil || len(missing) != 1 || missing[0] != c.missing {
			t.Errorf("missing %q (%v), want %q", missing, err, c.missing)
		}
		again, err := create(t.Context(), endpoint, templates(t))
		if err != nil || again != outputs {
			t.Errorf("without %s: created %+v (%v), want the same as before", c.missing, again, err)
		}
		if missing, err := messaging.Missing(t.Context(), endpoint, outputs); err != nil || missing != nil {
			t.Errorf("after the repair, missing %q (%v)", missing, err)
		}
	}
	checkDelivery(t, endpoint, outputs)
}

func unsubscribe(t *testing.T, client *sns.Client, topicARN, queueARN string) error {
	t.Helper()
	list, err := client.ListSubscriptionsByTopic(t.Context(),
		&sns.ListSubscriptionsByTopicInput{TopicArn: aws.String(topicARN)})
	if err != nil {
		return err
	}
	for _, s := range list.Subscriptions {
		if aws.ToString(s.Endpoint) != queueARN {
			continue
		}
		_, err := client.Unsubscribe(t.Context(), &sns.UnsubscribeInput{SubscriptionArn: s.SubscriptionArn})
		return err
	}
	return nil
}
