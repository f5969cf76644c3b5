package preflight

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/eventbridge"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sns"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sqs"
)

// service opens the destinations of an AWS service.
type service struct {
	open     func(context.Context, aws.Config, sink.Destination, sink.Options) (opened, error)
	expected func(sink.Destination, sink.Options) sink.Limits // of a destination that is not opened yet
}

// serviceOf returns the service of a destination, or an error if the relay has no sink for it.
func serviceOf(destination sink.Destination) (service, error) {
	switch destination.Service {
	case sink.SNS:
		return service{opener(sns.Open), sns.ExpectedLimits}, nil
	case sink.SQS:
		return service{opener(sqs.Open), sqs.ExpectedLimits}, nil
	case sink.EventBridge:
		return service{opener(eventbridge.Open), eventbridge.ExpectedLimits}, nil
	}
	return service{}, fmt.Errorf("destination %s: the relay has no sink for %q: use an SNS topic, an SQS queue or "+
		"an EventBridge bus",
		destination, destination.Service)
}

// opener makes one type of the Open functions of all sinks.
func opener[S opened](
	open func(context.Context, aws.Config, sink.Destination, sink.Options) (S, error),
) func(context.Context, aws.Config, sink.Destination, sink.Options) (opened, error) {
	return func(ctx context.Context, cfg aws.Config, d sink.Destination, options sink.Options) (opened, error) {
		return open(ctx, cfg, d, options)
	}
}
