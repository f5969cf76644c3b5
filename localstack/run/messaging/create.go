package messaging

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// creator creates single resources from CloudFormation properties. All properties except the names
// are attributes of the same name in the services' APIs.
type creator struct {
	sns *sns.Client
	sqs *sqs.Client
}

func newCreator(endpoint string) *creator {
	config := Config(endpoint)
	return &creator{sns: sns.NewFromConfig(config), sqs: sqs.NewFromConfig(config)}
}

func (c *creator) create(ctx context.Context, kind string, properties map[string]any) (resource, error) {
	switch kind {
	case "AWS::SNS::Topic":
		return c.topic(ctx, properties)
	case "AWS::SNS::TopicPolicy":
		return c.topicPolicy(ctx, properties)
	case "AWS::SQS::Queue":
		return c.queue(ctx, properties)
	case "AWS::SQS::QueuePolicy":
		return c.queuePolicy(ctx, properties)
	case "AWS::SNS::Subscription":
		return c.subscription(ctx, properties)
	}
	return resource{}, fmt.Errorf("%s cannot be created without CloudFormation", kind)
}

func (c *creator) topic(ctx context.Context, properties map[string]any) (resource, error) {
	name := take(properties, "TopicName")
	attributes, err := attributesOf(properties)
	if err != nil {
		return resource{}, err
	}
	arn, err := c.topicNamed(ctx, name)
	if err != nil {
		return resource{}, fmt.Errorf("look for topic %s: %w", name, err)
	}
	if arn == "" {
		created, err := c.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String(name), Attributes: attributes})
		if err != nil {
			return resource{}, fmt.Errorf("create topic %s: %w", name, err)
		}
		arn = aws.ToString(created.TopicArn)
	}
	return resource{ref: arn, attributes: map[string]string{"TopicName": name}}, nil
}

func (c *creator) topicPolicy(ctx context.Context, properties map[string]any) (resource, error) {
	policy, err := json.Marshal(properties["PolicyDocument"])
	if err != nil {
		return resource{}, fmt.Errorf("encode policy: %w", err)
	}
	topics, _ := properties["Topics"].([]any)
	for _, topic := range topics {
		_, err := c.sns.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{
			TopicArn: aws.String(fmt.Sprint(topic)), AttributeName: aws.String("Policy"),
			AttributeValue: aws.String(string(policy)),
		})
		if err != nil {
			return resource{}, fmt.Errorf("set the policy of %s: %w", topic, err)
		}
	}
	return resource{}, nil
}

func (c *creator) queue(ctx context.Context, properties map[string]any) (resource, error) {
	name := take(properties, "QueueName")
	attributes, err := attributesOf(properties)
	if err != nil {
		return resource{}, err
	}
	url, err := c.queueNamed(ctx, name)
	if err != nil {
		return resource{}, fmt.Errorf("look for queue %s: %w", name, err)
	}
	if url == nil {
		created, err := c.sqs.CreateQueue(ctx,
			&sqs.CreateQueueInput{QueueName: aws.String(name), Attributes: attributes})
		if err != nil {
			return resource{}, fmt.Errorf("create queue %s: %w", name, err)
		}
		url = created.QueueUrl
	}
	got, err := c.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return resource{}, fmt.Errorf("read the ARN of queue %s: %w", name, err)
	}
	attributes = map[string]string{"Arn": got.Attributes["QueueArn"], "QueueName": name}
	return resource{ref: aws.ToString(url), attributes: attributes}, nil
}

func (c *creator) queuePolicy(ctx context.Context, properties map[string]any) (resource, error) {
	policy, err := json.Marshal(properties["PolicyDocument"])
	if err != nil {
		return resource{}, fmt.Errorf("encode policy: %w", err)
	}
	queues, _ := properties["Queues"].([]any)
	for _, queue := range queues {
		_, err := c.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
			QueueUrl: aws.String(fmt.Sprint(queue)), Attributes: map[string]string{"Policy": string(policy)},
		})
		if err != nil {
			return resource{}, fmt.Errorf("set the policy of %s: %w", queue, err)
		}
	}
	return resource{}, nil
}

func (c *creator) subscription(ctx context.Context, properties map[string]any) (resource, error) {
	input := &sns.SubscribeInput{
		TopicArn:              aws.String(take(properties, "TopicArn")),
		Protocol:              aws.String(take(properties, "Protocol")),
		Endpoint:              aws.String(take(properties, "Endpoint")),
		ReturnSubscriptionArn: true,
	}
	attributes, err := attributesOf(properties)
	if err != nil {
		return resource{}, err
	}
	input.Attributes = attributes
	existing, err := c.subscriptionOf(ctx, aws.ToString(input.TopicArn), aws.ToString(input.Endpoint))
	if err != nil || existing != "" {
		return resource{ref: existing}, err
	}
	created, err := c.sns.Subscribe(ctx, input)
	if err != nil {
		return resource{}, fmt.Errorf("subscribe %s: %w", aws.ToString(input.Endpoint), err)
	}
	return resource{ref: aws.ToString(created.SubscriptionArn)}, nil
}

// take removes a property that is no attribute and returns it.
func take(properties map[string]any, name string) string {
	value, _ := properties[name].(string)
	delete(properties, name)
	return value
}

// attributesOf converts properties to attributes: scalars to text, and everything else to JSON.
func attributesOf(properties map[string]any) (map[string]string, error) {
	attributes := map[string]string{}
	for name, value := range properties {
		if text, ok := value.(string); ok {
			attributes[name] = text
			continue
		}
		encoded, err := json.Marshal(value) // the JSON of a number or a boolean is its text
		if err != nil {
			return nil, fmt.Errorf("encode attribute %s: %w", name, err)
		}
		attributes[name] = string(encoded)
	}
	return attributes, nil
}
