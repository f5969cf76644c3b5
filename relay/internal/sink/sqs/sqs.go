// Package sqs sends batches of messages to one SQS queue.
package sqs

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// maxBatchBytes bounds all messages of one SendMessageBatch together, whatever the queue's own
// MaximumMessageSize.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
const maxBatchBytes = 1 << 20

// defaultMaximumMessageSize applies to a queue without the attribute. It is AWS' default for new
// queues. Brokers other than AWS omit attributes, or leave them empty.
const defaultMaximumMessageSize = 1 << 20

// Sink is one SQS queue.
type Sink struct {
	client      *sqs.Client
	requests    *transport.Client
	publisher   publisher
	destination sink.Destination
	queueURL    string
	state       atomic.Pointer[state]
}

// state has the attributes of the queue when they were last read.
type state struct {
	limits      sink.Limits
	description sink.Description
}

// Open reads the attributes of the queue dest and returns it as a sink. Credentials and endpoint
// are cfg's. The region is that of the ARN or URL. If cfg names no endpoint, that of a URL outside
// AWS' regional endpoints is used.
func Open(ctx context.Context, cfg aws.Config, dest sink.Destination, opts sink.Options) (*Sink, error) {
	if dest.Service != sink.SQS {
		return nil, fmt.Errorf("open queue %s: not an SQS queue", dest)
	}
	requests := transport.New(cfg, opts)
	s := &Sink{client: newClient(cfg, dest, requests), requests: requests, destination: dest, queueURL: dest.URL}
	if err := transport.CheckAppID(s.client.Options().AppID); err != nil {
		return nil, fmt.Errorf("open queue %s: %w", dest, err)
	}
	if s.queueURL == "" {
		queue, err := s.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{
			QueueName: &dest.Name, QueueOwnerAWSAccountId: &dest.Account,
		})
		if err != nil {
			return nil, fmt.Errorf("look up the URL of queue %s: %w", dest, err)
		}
		s.queueURL = aws.ToString(queue.QueueUrl)
		if path.Base(s.queueURL) != dest.Name {
			return nil, fmt.Errorf("look up the URL of queue %s: %w", dest,
				&sink.MixedUpError{Destination: dest.ARN, Answered: cmp.Or(s.queueURL, "no queue")})
		}
	}
	err := s.ReadLimits(ctx)
	if err != nil {
		return nil, err
	}
	if s.publisher, err = s.newPublisher(ctx, opts.Client); err != nil {
		return nil, fmt.Errorf("send to queue %s: %w", dest, err)
	}
	return s, nil
}

func newClient(cfg aws.Config, dest sink.Destination, requests *transport.Client) *sqs.Client {
	return sqs.NewFromConfig(cfg, func(o *sqs.Options) {
		if dest.Region != "" {
			o.Region = dest.Region
		}
		if endpoint := dest.Endpoint(); endpoint != "" && o.BaseEndpoint == nil {
			o.BaseEndpoint = &endpoint
		}
		setKind(o, dest)
		o.HTTPClient = requests
		o.Credentials = transport.Credentials(o.Credentials)
		o.APIOptions = append(o.APIOptions, transport.WithOrigin("sqs"))
		// The SDK turns one wrong checksum into an error of the whole request, after the broker has
		// accepted all of it. This package compares the checksum of each entry instead.
		o.DisableMessageChecksumValidation = true
	})
}

// setKind makes the SDK derive the host of the queue's URL. A configured endpoint replaces that
// host, and the SDK refuses it together with one of the kinds.
func setKind(o *sqs.Options, dest sink.Destination) {
	if o.BaseEndpoint != nil {
		return
	}
	fips, dualStack := dest.EndpointKind()
	if fips {
		o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
	}
	if dualStack {
		o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
}

// ExpectedLimits returns the limits of a queue that is not opened yet.
func ExpectedLimits(dest sink.Destination, _ sink.Options) sink.Limits {
	return sink.Limits{FIFO: dest.FIFO, MaxMessageBytes: defaultMaximumMessageSize, MaxBatchBytes: maxBatchBytes}
}

// ReadLimits implements [sink.Sink].
func (s *Sink) ReadLimits(ctx context.Context) error {
	queue, err := s.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &s.queueURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return fmt.Errorf("read the attributes of queue %s: %w", s.destination, err)
	}
	if err := sink.CheckAnswer(s.arn(), queue.Attributes["QueueArn"]); err != nil {
		return fmt.Errorf("read the attributes of queue %s: %w", s.destination, err)
	}
	read := s.stateOf(queue.Attributes)
	if opened := s.state.Load(); opened != nil { // a queue never becomes another kind
		read.limits.FIFO = opened.limits.FIFO
	}
	s.state.Store(&read)
	return nil
}

func (s *Sink) stateOf(attributes map[string]string) state {
	size, known := sink.SizeOf(attributes["MaximumMessageSize"], defaultMaximumMessageSize)
	read := state{
		sink.Limits{
			FIFO: sink.FlagOf(attributes["FifoQueue"],
				s.destination.FIFO), MaxMessageBytes: size, MaxBatchBytes: maxBatchBytes,
		},
		sink.Description{
			ARN:                       cmp.Or(attributes["QueueArn"], s.arn()),
			ContentBasedDeduplication: sink.FlagOf(attributes["ContentBasedDeduplication"], false),
			DeduplicationScope:        attributes["DeduplicationScope"],
			FifoThroughputLimit:       attributes["FifoThroughputLimit"],
			KMSKey:                    attributes["KmsMasterKeyId"],
		},
	}
	if !known {
		read.description.Missing = []string{"MaximumMessageSize"}
	}
	return read
}

// arn returns the ARN of the queue, for a broker that does not return it.
func (s *Sink) arn() string {
	d := s.destination
	return cmp.Or(d.ARN, fmt.Sprintf("arn:aws:sqs:%s:%s:%s", s.client.Options().Region, d.Account, d.Name))
}

// Limits implements [sink.Sink].
func (s *Sink) Limits() sink.Limits { return s.state.Load().limits }

// Description returns the other attributes of the queue.
func (s *Sink) Description() sink.Description { return s.state.Load().description }

// Publish implements [sink.Sink] with one SendMessageBatch, which is not repeated. The caller
// decides before each request whether the relay may still send.
func (s *Sink) Publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	results, err := s.publisher.publish(ctx, batch)
	if err != nil {
		s.requests.DropMixedUp(err)
		messages := span.Count(len(batch), "message")
		return nil, sink.ClassifyRequest(fmt.Errorf("send %s to %s: %w", messages, s.queueURL, err))
	}
	return results, nil
}

// publisher sends one request and reads its answer.
type publisher interface {
	publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error)
}

func (s *Sink) newPublisher(ctx context.Context, kind sink.Client) (publisher, error) {
	if kind == sink.SDK {
		return &sdkPublisher{s.client, s.requests, s.queueURL, s.Limits().FIFO}, nil
	}
	return newDirect(ctx, s.requests, s.queueURL, s.Limits().FIFO, s.client.Options())
}
