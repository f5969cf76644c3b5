package preflight

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// LoadAWS loads the AWS settings of the environment for [Destinations]. A request for credentials
// ends after timeout.
func LoadAWS(
	ctx context.Context, timeout time.Duration, options ...func(*awsconfig.LoadOptions) error,
) (aws.Config, error) {
	return transport.LoadConfig(ctx, timeout, options...)
}

// Destinations are the topics, queues and buses in the settings.
type Destinations struct {
	AWS   aws.Config
	Names []string // as in the settings, the default first
	// Patterned are the ARNs that only patterns lead to. The first event opens each of them.
	Patterned []string
	// Opened takes what the opening of one of them finds.
	Opened  func(Findings)
	Options sink.Options
	// GroupBatches is allowed for FIFO destinations only.
	GroupBatches bool
	// Tenant selects the MessageGroupId of standard destinations.
	Tenant string
	// Unordered means that no column has the id of the aggregate.
	Unordered bool
}

// opened is a sink with a description of its destination.
type opened interface {
	sink.Sink
	Description() sink.Description
}

// CredentialsError means that AWS credentials are missing. They may still arrive: a service beside
// the container issues those of a role, and may start later than the container.
type CredentialsError struct{ Err error }

func (e *CredentialsError) Error() string {
	return fmt.Sprintf("AWS credentials: there are none: give the task, the instance or the service account a role, "+
		"or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE: %v", e.Err)
}

func (e *CredentialsError) Unwrap() error { return e.Err }

// Check checks every destination, and opens those that can be opened.
func (d Destinations) Check(ctx context.Context, progress Progress) ([]delivery.Destination, Findings) {
	var parsed []sink.Destination
	all := Requirement{"the settings", func(context.Context) (problems Findings) {
		parsed, problems = d.parse()
		return problems
	}}.Run(ctx, progress)
	if len(parsed) == 0 {
		return nil, all
	}
	credentials := Requirement{"AWS credentials", d.credentials}.Run(ctx, progress)
	all = append(all, credentials...)
	if credentials.Err() != nil { // reported once, and not for each destination
		return nil, all
	}
	shared := d.Options
	shared.InFlight *= len(parsed) + len(d.Patterned)
	// All topics share one host, and are busy at different times.
	d.AWS.HTTPClient = transport.New(d.AWS, shared)
	checked := &destinations{Destinations: d, named: map[string]string{}}
	for _, destination := range parsed {
		all = append(all, Requirement{"destination " + destination.String(), func(ctx context.Context) Findings {
			return checked.destination(ctx, destination)
		}}.Run(ctx, progress)...)
	}
	if len(d.Patterned) > 0 {
		all = append(all, Requirement{"the settings", func(context.Context) Findings {
			return checked.patterned()
		}}.Run(ctx, progress)...)
	}
	return checked.opened, all
}

// destinations are [Destinations] during their check.
type destinations struct {
	Destinations
	named  map[string]string // from an ARN to its name in the settings
	opened []delivery.Destination
}

func (d *destinations) destination(ctx context.Context, destination sink.Destination) Findings {
	name := destination.String()
	object := "destination " + name
	s, err := d.open(ctx, destination)
	if err != nil {
		return Findings{d.refusal(destination, err)}
	}
	arn := s.Description().ARN
	if other, twice := d.named[arn]; twice {
		return Findings{sameDestination(object, other, name)}
	}
	d.named[arn] = name
	if d.GroupBatches && !s.Limits().FIFO {
		return Findings{noGroupBatches(object, name)}
	}
	d.opened = append(d.opened, delivery.Destination{Name: arn, Sink: s})
	return d.describe(name, s)
}

func sameDestination(object, one, other string) Finding {
	return failed(CodeDestination, object, "destinations %s and %s are the same, and each would keep a separate "+
		"order: use one name for it", one, other)
}

func noGroupBatches(object, name string) Finding {
	return failed(CodeDestination, object, "destination %s is standard, and RELAY_GROUP_BATCHES is for FIFO topics "+
		"and queues: unset it, or name a FIFO destination", name)
}

// describe returns the findings of an opened destination.
func (d Destinations) describe(name string, s opened) Findings {
	object := "destination " + name
	kind := fmt.Sprintf("standard, RELAY_TENANT %s", d.Tenant)
	switch limits := s.Limits(); {
	case limits.FIFO:
		kind = "FIFO"
	case limits.Entry != nil:
		kind = fmt.Sprintf("event bus, source %s. It keeps no order: the relay sends an event of an aggregate once "+
			"the bus has accepted those before it, and targets may get them in another order", limits.Entry.Source)
	}
	state := "exists"
	if s.Description().Hidden {
		state = "belongs to an account that denies events:DescribeEventBus: the first events show whether it exists " +
			"and accepts them"
	}
	found := Findings{passed(CodeDestination, object, "destination %s %s (%s)", name, state, kind)}
	for _, attribute := range s.Description().Missing {
		found = append(found, passed(CodeDestination, object, "destination %s reports no usable %s: AWS' default of "+
			"%d bytes applies",
			name, attribute, s.Limits().MaxMessageBytes))
	}
	if d.Unordered && s.Limits().FIFO {
		found = append(found, unordered(object, name))
	}
	if s.Description().Unsubscribed {
		found = append(found, unsubscribed(object, name))
	}
	return append(found, throughput(name, s)...)
}

func unsubscribed(object, name string) Finding {
	return degraded(CodeSubscription, object, "topic %s has no confirmed subscription: SNS accepts each event and "+
		"drops it. Subscribe the queues of its consumers before the relay starts", name)
}

func unordered(object, name string) Finding {
	return degraded(CodeAggregate, object, "destination %s is FIFO, and no column has the id of the aggregate: each "+
		"event is its own message group, and no order is kept. Name the column in RELAY_COLUMN_AGGREGATE_ID or "+
		"RELAY_ORDER_KEY, or use a standard destination", name)
}

func (d Destinations) parse() (parsed []sink.Destination, problems Findings) {
	for _, name := range d.Names {
		destination, err := sink.ParseDestination(name)
		if err == nil && d.AWS.Region == "" && destination.Region == "" {
			err = fmt.Errorf("destination %s: no region: set AWS_REGION", name)
		}
		if err != nil {
			err = fmt.Errorf("RELAY_DESTINATION or RELAY_ROUTES: %w", err)
			problems = append(problems, FromError(CodeDestination, "destination "+name, err))
			continue
		}
		parsed = append(parsed, destination)
	}
	return parsed, problems
}

func (d Destinations) credentials(ctx context.Context) Findings {
	found, err := d.AWS.Credentials.Retrieve(ctx)
	if err != nil {
		return Findings{FromError(CodeAWS, "AWS credentials", &CredentialsError{err})}
	}
	if err := transport.CheckCredentials(found); err != nil { // a retry does not change it
		return Findings{FromError(CodeAWS, "AWS credentials", fmt.Errorf("AWS credentials: %w", err))}
	}
	return Findings{passed(CodeAWS, "AWS credentials", "AWS credentials exist")}
}

func (d Destinations) open(ctx context.Context, destination sink.Destination) (opened, error) {
	service, err := serviceOf(destination)
	if err != nil {
		return nil, err
	}
	return service.open(ctx, d.AWS, destination, d.Options)
}

// throughput reports settings of a FIFO destination that limit it to 3,000 messages a second or
// less.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/high-throughput-fifo.html
func throughput(name string, s opened) Findings {
	if !s.Limits().FIFO {
		return nil
	}
	object, d := "destination "+name, s.Description()
	switch {
	case d.FifoThroughputLimit == "perQueue":
		return Findings{degraded(CodeThroughput, object, "queue %s has FifoThroughputLimit perQueue, 300 requests a "+
			"second: perMessageGroupId with DeduplicationScope messageGroup allows more", name)}
	case d.FifoThroughputScope == "Topic":
		return Findings{degraded(CodeThroughput, object, "topic %s has FifoThroughputScope Topic, 3,000 messages a "+
			"second: MessageGroup allows more", name)}
	}
	return nil
}
