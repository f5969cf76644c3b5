// Package eventbridge puts batches of messages as events on one EventBridge event bus.
//
// PutEvents differs from the calls of the other sinks in two ways. Its answer names no entry: a
// result belongs to the entry at the same position. [recent] detects an answer that was read
// before. And PutEvents accepts events for a bus that does not exist, and loses them. So
// [existence] checks regularly that the bus exists.
package eventbridge

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// maxBytes and maxBytesChina bound an event, and all events of a PutEvents together, as
// [sink.Entry.Size] counts them: less than 1 MB, and in the regions of China less than 256 KB. No
// call reads the limit.
//
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
// https://docs.amazonaws.cn/en_us/eventbridge/latest/userguide/eb-putevent-size.html
const (
	maxBytes      = 1<<20 - 1
	maxBytesChina = 256<<10 - 1
)

// Sink is one event bus.
type Sink struct {
	client      *eventbridge.Client
	requests    *transport.Client
	publisher   publisher
	busARN      string
	account     string // the owner of the bus
	limits      sink.Limits
	description atomic.Pointer[sink.Description]
	existence   existence
	recent      recent
}

// Open describes the event bus dest and returns it as a sink. Credentials and endpoint are cfg's.
// The region is that of the ARN.
func Open(ctx context.Context, cfg aws.Config, dest sink.Destination, opts sink.Options) (*Sink, error) {
	if dest.Service != sink.EventBridge {
		return nil, fmt.Errorf("open event bus %s: not an EventBridge bus", dest)
	}
	requests := transport.New(cfg, opts)
	client := eventbridge.NewFromConfig(cfg, func(o *eventbridge.Options) {
		o.Region = dest.Region
		o.HTTPClient = requests
		o.Credentials = transport.Credentials(o.Credentials)
		o.APIOptions = append(o.APIOptions, transport.WithOrigin(string(sink.EventBridge)))
	})
	if err := transport.CheckAppID(client.Options().AppID); err != nil {
		return nil, fmt.Errorf("open event bus %s: %w", dest, err)
	}
	s := &Sink{
		client: client, requests: requests, busARN: dest.ARN, account: dest.Account,
		limits: ExpectedLimits(dest, opts),
	}
	err := s.ReadLimits(ctx)
	if err != nil {
		return nil, err
	}
	if s.publisher, err = s.newPublisher(ctx, opts.Client); err != nil {
		return nil, fmt.Errorf("put events on bus %s: %w", dest, err)
	}
	return s, nil
}

// ExpectedLimits returns the limits of a bus, which are the same for all of one partition.
func ExpectedLimits(dest sink.Destination, opts sink.Options) sink.Limits {
	limit := maxBytes
	if strings.HasPrefix(dest.ARN, "arn:aws-cn:") {
		limit = maxBytesChina
	}
	return sink.Limits{MaxMessageBytes: limit, MaxBatchBytes: limit, Entry: &opts.Entry}
}

// ReadLimits implements [sink.Sink]. The limits of a bus are fixed, so ReadLimits only checks that
// the bus exists. A bus of another account whose owner denies the check counts as existing.
func (s *Sink) ReadLimits(ctx context.Context) error {
	err := s.describe(ctx)
	s.existence.learn(err)
	return err
}

func (s *Sink) describe(ctx context.Context) error {
	bus, err := s.client.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: &s.busARN})
	if isForeignDenial(err, s.account) {
		s.description.Store(&sink.Description{ARN: s.busARN, Hidden: true})
		return nil
	}
	if err != nil {
		return fmt.Errorf("describe event bus %s: %w", s.busARN, err)
	}
	if err := sink.CheckAnswer(s.busARN, aws.ToString(bus.Arn)); err != nil {
		return fmt.Errorf("describe event bus %s: %w", s.busARN, err)
	}
	s.description.Store(&sink.Description{ARN: s.busARN, KMSKey: aws.ToString(bus.KmsKeyIdentifier)})
	return nil
}

// Limits implements [sink.Sink].
func (s *Sink) Limits() sink.Limits { return s.limits }

// Description returns the other attributes of the bus.
func (s *Sink) Description() sink.Description { return *s.description.Load() }

// Publish implements [sink.Sink] with one PutEvents, which is not repeated. The caller decides
// before each request whether the relay may still send.
func (s *Sink) Publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	if s.existence.isDue() {
		bounded, cancel := s.requests.Bound(ctx) // for the check and the request together
		defer cancel()
		if err := s.existence.confirm(bounded, s.describe); err != nil {
			return nil, err
		}
		ctx = bounded
	}
	results, err := s.publisher.publish(ctx, batch)
	if err == nil {
		err = s.recent.add(results)
	}
	if err != nil {
		s.requests.DropMixedUp(err)
		return nil, sink.ClassifyRequest(fmt.Errorf("put %s on %s: %w", span.Count(len(batch), "event"), s.busARN, err))
	}
	return results, nil
}

// publisher sends one request and reads its answer.
type publisher interface {
	publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error)
}

func (s *Sink) newPublisher(ctx context.Context, kind sink.Client) (publisher, error) {
	if kind == sink.SDK {
		return &sdkPublisher{s.client, s.requests, s.busARN, s.limits.Entry}, nil
	}
	return newDirect(ctx, s.requests, s.busARN, s.limits.Entry, s.client.Options())
}
