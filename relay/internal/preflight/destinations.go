package preflight

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sns"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sqs"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// Destinations are the topics and queues of the settings.
type Destinations struct {
	AWS     aws.Config
	Names   []string // as they were written, the default first
	Options sink.Options
	// GroupBatches is a setting for FIFO destinations only.
	GroupBatches bool
}

// opened is a sink that tells more than delivery needs.
type opened interface {
	sink.Sink
	Description() sink.Description
}

// CredentialsError says that there are no credentials for AWS. They may yet come: a role's are handed out by a service beside
// the container, which may start later than it.
type CredentialsError struct{ Err error }

func (e *CredentialsError) Error() string {
	return fmt.Sprintf("AWS credentials: there are none: give the task, the instance or the service account a role, or set "+
		"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE: %v", e.Err)
}

func (e *CredentialsError) Unwrap() error { return e.Err }

// Open opens every destination. The error names all that are wrong; warnings are what works and may not be what was meant.
func (d Destinations) Open(ctx context.Context) (destinations []delivery.Destination, warnings []string, err error) {
	parsed, problems := d.parse()
	if len(parsed) == 0 {
		return nil, nil, errors.Join(problems...)
	}
	if _, err := d.AWS.Credentials.Retrieve(ctx); err != nil { // once, and not for each destination again
		return nil, nil, errors.Join(append(problems, &CredentialsError{err})...)
	}
	shared := d.Options
	shared.InFlight *= len(parsed)
	d.AWS.HTTPClient = transport.New(d.AWS, shared) // all topics have one host, and many are busy at different times
	named := map[string]string{}                    // ARN to the name that it has in the settings
	for _, destination := range parsed {
		name := destination.String()
		s, err := d.open(ctx, destination)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		arn := s.Description().ARN
		if other, twice := named[arn]; twice {
			problems = append(problems, fmt.Errorf("destinations %s and %s are the same, each would keep an order of its own: "+
				"write it in one way", other, name))
		}
		named[arn] = name
		if d.GroupBatches && !s.Limits().FIFO {
			problems = append(problems, fmt.Errorf("destination %s is a standard one, RELAY_GROUP_BATCHES is for FIFO topics and "+
				"queues: unset it, or name a FIFO destination", name))
		}
		warnings = append(warnings, warn(name, s)...)
		destinations = append(destinations, delivery.Destination{Name: arn, Sink: s})
	}
	return destinations, warnings, errors.Join(problems...)
}

// parse reads the names of the destinations.
func (d Destinations) parse() (parsed []sink.Destination, problems []error) {
	for _, name := range d.Names {
		destination, err := sink.ParseDestination(name)
		if err == nil && d.AWS.Region == "" && destination.Region == "" {
			err = fmt.Errorf("destination %s: no region: set AWS_REGION", name)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		parsed = append(parsed, destination)
	}
	return parsed, problems
}

func (d Destinations) open(ctx context.Context, destination sink.Destination) (opened, error) {
	if destination.Service == sink.SNS {
		return sns.Open(ctx, d.AWS, destination, d.Options)
	}
	return sqs.Open(ctx, d.AWS, destination, d.Options)
}

// warn names settings of a FIFO destination that cap it at 3,000 messages a second or less.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/high-throughput-fifo.html
func warn(name string, s opened) []string {
	if !s.Limits().FIFO {
		return nil
	}
	var warnings []string
	d := s.Description()
	if d.FifoThroughputLimit == "perQueue" {
		warnings = append(warnings, fmt.Sprintf("queue %s has FifoThroughputLimit perQueue, 300 requests a second: "+
			"perMessageGroupId with DeduplicationScope messageGroup is the fast one", name))
	}
	if d.FifoThroughputScope == "Topic" {
		warnings = append(warnings, fmt.Sprintf("topic %s has FifoThroughputScope Topic, 3,000 messages a second: MessageGroup is the fast one", name))
	}
	return warnings
}
