package sinktest_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/eventbridge"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sinktest"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sns"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sqs"
)

func TestSinksKeepTheirPromisesAgainstFakeAWS(t *testing.T) {
	t.Parallel()
	for _, client := range clients {
		t.Run(string(client), func(t *testing.T) {
			t.Parallel()
			sinktest.Run(t, sinktest.Environment{Config: config(start(t).URL()), Open: openAs(client)})
		})
	}
}

func TestSinksKeepTheirPromisesAgainstLocalStack(t *testing.T) {
	t.Parallel()
	endpoint := os.Getenv("LOCALSTACK_ENDPOINT")
	if endpoint == "" {
		t.Skip("LOCALSTACK_ENDPOINT is not set, for example to http://127.0.0.1:4566")
	}
	for _, client := range clients { // one after the other: LocalStack is slow enough with one
		t.Run(string(client), func(t *testing.T) {
			sinktest.Run(t,
				sinktest.Environment{Config: config(endpoint), Open: openAs(client), Settle: 1, Gaps: gapsOfLocalStack})
		})
	}
}

var gapsOfLocalStack = sinktest.Gaps{
	TopicSizeIsFixed: true,
	BusEventBytes:    262_000,
	BusTakes:         []string{"detail-type of 129 characters"},
	QueueTakes:       []string{"eleven attributes", "no number"},
	TopicTakes: []string{
		"empty body", "no number", "name of AWS's own", "name that is too long", "group with a space",
		"group beyond ASCII",
		"group of 129 characters", "id with a space", "id of 129 characters",
	},
}

// services are all services with a sink.
var services = []sink.Service{sink.SNS, sink.SQS, sink.EventBridge}

// create creates the destination of a service with this name, and returns its ARN. A bus is never
// FIFO, and keeps the rest of the name.
func create(t *testing.T, server *fakeaws.Server, service sink.Service, name string) (arn string) {
	t.Helper()
	var err error
	switch service {
	case sink.EventBridge:
		arn, err = server.CreateBus(name)
	case sink.SQS:
		var queue fakeaws.Queue
		queue, err = server.CreateQueue(name, nil)
		arn = queue.ARN
	default:
		arn, err = server.CreateTopic(name, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

func start(t *testing.T) *fakeaws.Server {
	t.Helper()
	server, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func config(endpoint string) aws.Config {
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: &endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
}

func openAs(client sink.Client) func(context.Context, aws.Config, sink.Destination) (sink.Sink, error) {
	return func(ctx context.Context, cfg aws.Config, dest sink.Destination) (sink.Sink, error) {
		return openWith(ctx, cfg, dest, sink.Options{Client: client})
	}
}

func openWith(ctx context.Context, cfg aws.Config, dest sink.Destination, opts sink.Options) (sink.Sink, error) {
	switch dest.Service {
	case sink.SNS:
		return sns.Open(ctx, cfg, dest, opts)
	case sink.SQS:
		return sqs.Open(ctx, cfg, dest, opts)
	case sink.EventBridge:
		opts.Entry.Source = "sinktest"
		return eventbridge.Open(ctx, cfg, dest, opts)
	}
	return nil, fmt.Errorf("no sink for %s", dest)
}
