// Package sinktest tests the promises of every [sink.Sink], against any broker that claims to be
// AWS.
//
// The suite states the behaviour of AWS. If a broker is known to differ, its [Gaps] say so, and the
// suite tests the promise as far as it can.
package sinktest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// patience is how long a promise may take. A broker on a busy machine is slow; a broken one is
// wrong.
const patience = 2 * time.Minute

// Environment is a broker, and the way to open a sink at it.
type Environment struct {
	Config aws.Config // with endpoint, region and credentials of the broker
	Open   func(ctx context.Context, cfg aws.Config, dest sink.Destination) (sink.Sink, error)
	// Settle is how many seconds the suite waits for messages that must not come. 0 is right for a
	// broker that delivers before it answers.
	Settle int32
	Gaps   Gaps
}

// Gaps are differences of a broker from AWS.
//
// LocalStack has some more that no promise here depends on. It leaves the deduplication of a FIFO
// topic to the queues behind it. It never lists a failed entry in the answer to a PublishBatch. It
// neither throttles nor enforces keys and permissions.
type Gaps struct {
	// TopicSizeIsFixed: the topic attribute MaximumMessageSize is stored, and the limit stays
	// 262,144 bytes.
	TopicSizeIsFixed bool
	// QueueTakes, TopicTakes and BusTakes name invalid messages that a queue, topic or bus accepts.
	QueueTakes, TopicTakes, BusTakes []string
	// BusEventBytes is the size that the detail of each event has to stay below, if it is not the
	// limit of AWS for all events of a request together. Such a bus judges one event after the
	// other, and has accepted those before the refused one.
	BusEventBytes int
}

// kind is one of the five kinds of destinations.
type kind struct {
	service sink.Service
	fifo    bool
}

var kinds = []kind{
	{sink.SQS, false}, {sink.SQS, true}, {sink.SNS, false}, {sink.SNS, true}, {sink.EventBridge, false},
}

func (k kind) String() string {
	if k.fifo {
		return string(k.service) + " fifo"
	}
	return string(k.service) + " standard"
}

// suite runs the promises against one environment.
type suite struct {
	Environment
	sns    *sns.Client
	sqs    *sqs.Client
	events *eventbridge.Client
}

// Run tests every promise against env.
func Run(t *testing.T, env Environment) {
	t.Helper()
	s := suite{
		env, sns.NewFromConfig(env.Config), sqs.NewFromConfig(env.Config), eventbridge.NewFromConfig(env.Config),
	}
	for _, k := range kinds {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			for _, p := range promises {
				if p.concerns(k.service) {
					t.Run(p.name, func(t *testing.T) {
						t.Parallel()
						p.test(s, t, k)
					})
				}
			}
		})
	}
}

// Promises returns the names of the promises of a service's sinks, in the order of [Run].
func Promises(service sink.Service) (names []string) {
	for _, p := range promises {
		if p.concerns(service) {
			names = append(names, p.name)
		}
	}
	return names
}

// destination is an open sink and the queue in which its messages arrive.
type destination struct {
	sink.Sink
	suite
	kind     kind
	name     string // of the topic, queue or bus
	arn      string
	queueURL string
}

// open creates a destination of kind k with attributes of its own, for the duration of the test.
func (s suite) open(t *testing.T, k kind, attributes map[string]string) *destination {
	t.Helper()
	name := "sinktest-" + uuid.NewString()
	if k.fifo {
		name += ".fifo"
	}
	d := &destination{suite: s, kind: k, name: name}
	var queueARN string
	switch k.service {
	case sink.SQS:
		d.queueURL, d.arn = s.createQueue(t, name, attributes)
	case sink.EventBridge:
		d.queueURL, queueARN = s.createQueue(t, name, nil)
		d.arn = s.createBus(t, name, queueARN)
	default:
		d.queueURL, queueARN = s.createQueue(t, name, nil)
		d.arn = s.createTopic(t, name, attributes)
		s.subscribe(t, d.arn, queueARN)
	}
	d.Sink = s.openSink(t, d.arn)
	return d
}

func (s suite) openSink(t *testing.T, arn string) sink.Sink {
	t.Helper()
	dest, err := sink.ParseDestination(arn)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := s.Open(t.Context(), s.Config, dest)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// deliver publishes batch and fails the test unless all of it is durable.
func (d *destination) deliver(t *testing.T, batch ...*sink.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	results, err := d.Publish(ctx, batch)
	if err != nil {
		t.Fatalf("publish %d messages: %v", len(batch), err)
	}
	if len(results) != len(batch) {
		t.Fatalf("%d results for %d messages", len(results), len(batch))
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("message %d: %v", i, r.Err)
		}
	}
}

// outcomes publishes batch and returns one error for each message. An error of the request is that
// of every message.
func (d *destination) outcomes(t *testing.T, batch ...*sink.Message) []error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	results, err := d.Publish(ctx, batch)
	outcomes := make([]error, len(batch))
	for i := range outcomes {
		outcomes[i] = err
		if err == nil {
			outcomes[i] = results[i].Err
		}
	}
	return outcomes
}

// message returns message number i of a group.
func message(group string, i int) *sink.Message {
	id := uuid.NewString()
	return &sink.Message{
		EventID: id, Type: "order.created", GroupID: group, TenantID: "tenant", DeduplicationID: id,
		Body:       fmt.Sprintf(`{"n": %d}`, i),
		Attributes: []sink.Attribute{{Name: "event_id", DataType: sink.String, Value: id}},
	}
}

// sized returns a message of exactly size bytes as the destination counts them. Its body is no
// JSON.
func (d *destination) sized(size int) *sink.Message {
	m, limits := message("sized", 0), d.Limits()
	m.Body = "x"
	m.Body = strings.Repeat("x", size-limits.Size(m)+len(m.Body))
	return m
}
