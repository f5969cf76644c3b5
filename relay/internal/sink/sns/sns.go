// Package sns publishes batches of messages to one SNS topic.
package sns

import (
	"context"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// defaultMaximumMessageSize applies to a topic without the attribute MaximumMessageSize. The whole of a PublishBatch has
// to fit it as well. https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html
const defaultMaximumMessageSize = 262_144

// Sink is one SNS topic.
type Sink struct {
	client      *sns.Client
	requests    *transport.Client
	publisher   publisher
	topicARN    string
	limits      sink.Limits
	description sink.Description
}

// Open reads the attributes of the topic dest and returns it as a sink. Credentials and endpoint are cfg's, the region
// is that of the ARN.
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
	topic, err := client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &dest.ARN})
	if err != nil {
		return nil, fmt.Errorf("read the attributes of topic %s: %w", dest, err)
	}
	limits, err := readLimits(topic.Attributes)
	if err != nil {
		return nil, fmt.Errorf("read the attributes of topic %s: %w", dest, err)
	}
	s := &Sink{client: client, requests: requests, topicARN: dest.ARN, limits: limits, description: describe(dest.ARN, topic.Attributes)}
	if s.publisher, err = s.newPublisher(ctx, opts.Client); err != nil {
		return nil, fmt.Errorf("publish to topic %s: %w", dest, err)
	}
	return s, nil
}

func readLimits(attributes map[string]string) (sink.Limits, error) {
	size := defaultMaximumMessageSize
	if text := attributes["MaximumMessageSize"]; text != "" {
		var err error
		if size, err = strconv.Atoi(text); err != nil {
			return sink.Limits{}, fmt.Errorf("MaximumMessageSize: %w", err)
		}
	}
	return sink.Limits{FIFO: attributes["FifoTopic"] == "true", MaxMessageBytes: size, MaxBatchBytes: size}, nil
}

func describe(arn string, attributes map[string]string) sink.Description {
	return sink.Description{
		ARN:                       arn,
		ContentBasedDeduplication: attributes["ContentBasedDeduplication"] == "true",
		FifoThroughputScope:       attributes["FifoThroughputScope"],
		KMSKey:                    attributes["KmsMasterKeyId"],
	}
}

// Limits implements [sink.Sink].
func (s *Sink) Limits() sink.Limits { return s.limits }

// Description returns what else the topic said about itself.
func (s *Sink) Description() sink.Description { return s.description }

// Publish implements [sink.Sink] with one PublishBatch, which is not repeated: whoever calls Publish decides whether the
// relay may still send, before each request.
func (s *Sink) Publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	results, err := s.publisher.publish(ctx, batch)
	if err != nil {
		transport.RefreshExpired(s.client.Options().Credentials, err)
		s.requests.DropMixedUp(err)
		return nil, sink.ClassifyRequest(fmt.Errorf("publish %d messages to %s: %w", len(batch), s.topicARN, err))
	}
	return results, nil
}

// publisher sends one request and reads its answer.
type publisher interface {
	publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error)
}

func (s *Sink) newPublisher(ctx context.Context, kind sink.Client) (publisher, error) {
	if kind == sink.SDK {
		return &sdkPublisher{s.client, s.requests, s.topicARN, s.limits.FIFO}, nil
	}
	return newDirect(ctx, s.requests, s.topicARN, s.limits.FIFO, s.client.Options())
}
