// Package sns publishes batches of messages to one SNS topic.
package sns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// defaultMaximumMessageSize applies to a topic without the attribute MaximumMessageSize. The whole
// of a PublishBatch has to fit it as well.
//
// https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html
const defaultMaximumMessageSize = 262_144

// Sink is one SNS topic.
type Sink struct {
	client    *sns.Client
	requests  *transport.Client
	publisher publisher
	topicARN  string
	state     atomic.Pointer[state]
}

// state has the attributes of the topic when they were last read.
type state struct {
	limits      sink.Limits
	description sink.Description
}

// Open reads the attributes of the topic dest and returns it as a sink. Credentials and endpoint
// are cfg's. The region is that of the ARN.
func Open(ctx context.Context, cfg aws.Config, dest sink.Destination, opts sink.Options) (*Sink, error) {
	if dest.Service != sink.SNS {
		return nil, fmt.Errorf("open topic %s: not an SNS topic", dest)
	}
	requests := transport.New(cfg, opts)
	client := sns.NewFromConfig(cfg, func(o *sns.Options) {
		o.Region = dest.Region
		o.HTTPClient = requests
		o.Credentials = transport.Credentials(o.Credentials)
		o.APIOptions = append(o.APIOptions, transport.WithOrigin("sns"))
	})
	if err := transport.CheckAppID(client.Options().AppID); err != nil {
		return nil, fmt.Errorf("open topic %s: %w", dest, err)
	}
	s := &Sink{client: client, requests: requests, topicARN: dest.ARN}
	err := s.ReadLimits(ctx)
	if err != nil {
		return nil, err
	}
	if s.publisher, err = s.newPublisher(ctx, opts.Client); err != nil {
		return nil, fmt.Errorf("publish to topic %s: %w", dest, err)
	}
	return s, nil
}

// ExpectedLimits returns the limits of a topic that is not opened yet.
func ExpectedLimits(dest sink.Destination, _ sink.Options) sink.Limits {
	return stateOf(dest.ARN, nil).limits
}

// ReadLimits implements [sink.Sink].
func (s *Sink) ReadLimits(ctx context.Context) error {
	topic, err := s.client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &s.topicARN})
	if err != nil {
		return fmt.Errorf("read the attributes of topic %s: %w", s.topicARN, err)
	}
	if err := sink.CheckAnswer(s.topicARN, topic.Attributes["TopicArn"]); err != nil {
		return fmt.Errorf("read the attributes of topic %s: %w", s.topicARN, err)
	}
	read := stateOf(s.topicARN, topic.Attributes)
	if opened := s.state.Load(); opened != nil {
		// a topic never becomes another kind, and its subscriptions matter at the start alone
		read.limits.FIFO = opened.limits.FIFO
		read.description.Unsubscribed = opened.description.Unsubscribed
	} else if read.description.Unsubscribed {
		read.description.Unsubscribed = !s.hasSubscription(ctx)
	}
	s.state.Store(&read)
	return nil
}

// hasSubscription reports whether SNS lists a confirmed subscription. LocalStack counts none of
// those that it lists. A relay may lack the permission for the list: then the count holds.
func (s *Sink) hasSubscription(ctx context.Context) bool {
	listed, err := s.client.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &s.topicARN})
	return err == nil && slices.ContainsFunc(listed.Subscriptions, func(one types.Subscription) bool {
		return strings.HasPrefix(aws.ToString(one.SubscriptionArn), "arn:") // otherwise PendingConfirmation
	})
}

func stateOf(arn string, attributes map[string]string) state {
	size, _ := sink.SizeOf(attributes["MaximumMessageSize"], defaultMaximumMessageSize)
	return state{
		sink.Limits{
			FIFO: sink.FlagOf(attributes["FifoTopic"],
				strings.HasSuffix(arn, ".fifo")), MaxMessageBytes: size, MaxBatchBytes: size, OneLine: true,
		},
		sink.Description{
			ARN:                       arn,
			ContentBasedDeduplication: sink.FlagOf(attributes["ContentBasedDeduplication"], false),
			FifoThroughputScope:       attributes["FifoThroughputScope"],
			KMSKey:                    attributes["KmsMasterKeyId"],
			Unsubscribed:              attributes["SubscriptionsConfirmed"] == "0" && attributes["ArchivePolicy"] == "",
		},
	}
}

// Limits implements [sink.Sink].
func (s *Sink) Limits() sink.Limits { return s.state.Load().limits }

// Description returns the other attributes of the topic.
func (s *Sink) Description() sink.Description { return s.state.Load().description }

// Publish implements [sink.Sink] with one PublishBatch, which is not repeated. The caller decides
// before each request whether the relay may still send.
func (s *Sink) Publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	results, err := s.publisher.publish(ctx, batch)
	if err != nil {
		s.requests.DropMixedUp(err)
		messages := span.Count(len(batch), "message")
		return nil, sink.ClassifyRequest(fmt.Errorf("publish %s to %s: %w", messages, s.topicARN, err))
	}
	return results, nil
}

// publisher sends one request and reads its answer.
type publisher interface {
	publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error)
}

func (s *Sink) newPublisher(ctx context.Context, kind sink.Client) (publisher, error) {
	if kind == sink.SDK {
		return &sdkPublisher{s.client, s.requests, s.topicARN, s.Limits().FIFO}, nil
	}
	return newDirect(ctx, s.requests, s.topicARN, s.Limits().FIFO, s.client.Options())
}
