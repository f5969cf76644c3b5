package messaging

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Missing returns the topic, the queues and the subscriptions of outputs that do not exist at the
// broker. A broker in memory has none of them after its restart.
func Missing(ctx context.Context, endpoint string, outputs Outputs) ([]string, error) {
	c := newCreator(endpoint)
	var missing []string
	for _, queues := range []Queues{outputs.Queues, outputs.Shipments} {
		for _, url := range []string{queues.QueueUrl, queues.DeadLetterQueueUrl, queues.UndeliveredQueueUrl} {
			exists, err := c.queueExists(ctx, url)
			if err != nil {
				return nil, fmt.Errorf("look for queue %s: %w", url, err)
			}
			if !exists {
				missing = append(missing, "queue "+url)
			}
		}
	}
	for _, queues := range []Queues{outputs.Queues, outputs.Shipments} {
		arn, err := c.subscriptionOf(ctx, outputs.TopicArn, queues.QueueArn)
		switch {
		case isNotFound(err):
			return append(missing, "topic "+outputs.TopicArn), nil
		case err != nil:
			return nil, err
		case arn == "":
			missing = append(missing, "subscription of "+queues.QueueArn+" to "+outputs.TopicArn)
		}
	}
	return missing, nil
}

func (c *creator) queueExists(ctx context.Context, url string) (bool, error) {
	_, err := c.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(url), AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// queueNamed returns the URL of a queue, or nil if it does not exist.
func (c *creator) queueNamed(ctx context.Context, name string) (*string, error) {
	found, err := c.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(name)})
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return found.QueueUrl, nil
}

// topicNamed returns the ARN of a topic, or an empty string if it does not exist.
func (c *creator) topicNamed(ctx context.Context, name string) (string, error) {
	pages := sns.NewListTopicsPaginator(c.sns, &sns.ListTopicsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, topic := range page.Topics {
			if arn := aws.ToString(topic.TopicArn); strings.HasSuffix(arn, ":"+name) {
				return arn, nil
			}
		}
	}
	return "", nil
}

// subscriptionOf returns the ARN of the endpoint's subscription to the topic, or an empty string.
func (c *creator) subscriptionOf(ctx context.Context, topicARN, endpoint string) (string, error) {
	pages := sns.NewListSubscriptionsByTopicPaginator(c.sns,
		&sns.ListSubscriptionsByTopicInput{TopicArn: aws.String(topicARN)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("list the subscriptions of topic %s: %w", topicARN, err)
		}
		for _, s := range page.Subscriptions {
			if aws.ToString(s.Endpoint) == endpoint {
				return aws.ToString(s.SubscriptionArn), nil
			}
		}
	}
	return "", nil
}

// isNotFound reports whether the broker answered that a topic or queue does not exist.
func isNotFound(err error) bool {
	if _, is := errors.AsType[*snstypes.NotFoundException](err); is {
		return true
	}
	_, is := errors.AsType[*types.QueueDoesNotExist](err)
	return is
}
