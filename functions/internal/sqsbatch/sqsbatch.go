// Package sqsbatch processes the batches of SQS messages with which Lambda invokes a function, and
// tells Lambda which messages to keep.
//
// Lambda deletes each message that the function does not report. A reported message arrives again
// after the visibility timeout of the queue. After the maxReceiveCount of the queue it is in the
// dead-letter queue. So the function reports
//
//   - a message that is no event, whose processing fails each time;
//   - a large event whose body cannot be read from S3;
//   - an event for which Act failed;
//   - on a FIFO queue, all later messages of the same message group, which keeps their order;
//   - all messages that remain if the database is unavailable, or if the time of the function ends.
package sqsbatch

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/outbox-relay/outbox-relay/functions/internal/budget"
	"github.com/outbox-relay/outbox-relay/functions/internal/tracing"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
	"github.com/outbox-relay/outbox-relay/relay/inbox/awslambda"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// Act processes one event. Lambda deletes its message if Act returns nil. An event may arrive
// several times.
type Act func(ctx context.Context, event inbox.Event) error

// Handler is the handler of a Lambda function whose event source mapping has the
// FunctionResponseTypes ReportBatchItemFailures. Without that setting Lambda deletes every message.
type Handler func(context.Context, events.SQSEvent) (events.SQSEventResponse, error)

// answerMargin is the part of the function's timeout that is reserved for the answer. A function
// that answers too late has its whole batch delivered again.
const answerMargin = time.Second

// New returns a handler that processes the messages of a batch in their order. fetch reads the
// bodies of large events.
func New(act Act, fetch inbox.Fetch, log *slog.Logger) Handler {
	return func(ctx context.Context, received events.SQSEvent) (events.SQSEventResponse, error) {
		ctx, cancel := budget.Within(ctx, answerMargin)
		defer cancel()
		b := batch{act: act, fetch: fetch, log: log, failedGroups: map[string]bool{}}
		for _, message := range received.Records {
			b.process(ctx, message)
		}
		return events.SQSEventResponse{BatchItemFailures: b.failures}, nil
	}
}

// batch is the state of one invocation.
type batch struct {
	act          Act
	fetch        inbox.Fetch
	log          *slog.Logger
	failedGroups map[string]bool // message groups of a FIFO queue
	stopped      bool            // no message has a chance to succeed in this invocation
	failures     []events.SQSBatchItemFailure
}

func (b *batch) process(ctx context.Context, message events.SQSMessage) {
	group := groupOf(message)
	b.stopped = b.stopped || ctx.Err() != nil
	if b.stopped || group != "" && b.failedGroups[group] {
		b.fail(message, group)
		return
	}
	began := time.Now()
	event, err := b.decode(ctx, message)
	if err == nil {
		err = b.traced(ctx, message, event)
	}
	b.logMessage(ctx, message, event, time.Since(began), err)
	if err != nil {
		b.fail(message, group)
		b.stopped = postgres.IsTransient(err)
	}
}

// decode returns the event of a message, with the body to which the message of a large event
// points.
func (b *batch) decode(ctx context.Context, message events.SQSMessage) (inbox.Event, error) {
	resolved, err := inbox.Resolve(ctx, awslambda.Message(message), b.fetch)
	if err != nil {
		return inbox.Event{}, err
	}
	return inbox.Decode(resolved)
}

// traced calls Act in a span that continues the trace of the event.
func (b *batch) traced(ctx context.Context, message events.SQSMessage, event inbox.Event) error {
	queue := message.EventSourceARN[strings.LastIndexByte(message.EventSourceARN, ':')+1:]
	ctx, span := tracing.Start(tracing.Continue(ctx, event.Headers), "process "+queue, trace.SpanKindConsumer,
		semconv.MessagingSystemAWSSQS, semconv.MessagingDestinationName(queue),
		semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess,
		semconv.MessagingMessageID(message.MessageId),
		attribute.String("outbox.event.id", event.ID), attribute.String("outbox.event.type", event.Type))
	err := b.act(ctx, event)
	tracing.End(span, err)
	return err
}

func (b *batch) fail(message events.SQSMessage, group string) {
	b.failures = append(b.failures, events.SQSBatchItemFailure{ItemIdentifier: message.MessageId})
	b.failedGroups[group] = true
}

// groupOf returns the message group whose order the queue keeps, or an empty string. A standard
// queue may have groups too, for fairness, and keeps no order.
func groupOf(message events.SQSMessage) string {
	if !strings.HasSuffix(message.EventSourceARN, ".fifo") {
		return ""
	}
	return message.Attributes["MessageGroupId"]
}

func (b *batch) logMessage(ctx context.Context, message events.SQSMessage, event inbox.Event, took time.Duration,
	err error,
) {
	level := slog.LevelInfo
	attributes := []slog.Attr{
		slog.String("message_id", message.MessageId),
		slog.String("event_id", event.ID),
		slog.String("event_type", event.Type),
		slog.String("receive_count", message.Attributes["ApproximateReceiveCount"]),
		slog.Float64("took_ms", float64(took.Microseconds())/1000),
	}
	if invocation, ok := lambdacontext.FromContext(ctx); ok {
		attributes = append(attributes, slog.String("lambda_request_id", invocation.AwsRequestID))
	}
	if err != nil {
		level = slog.LevelError
		attributes = append(attributes, slog.Any("err", err))
	}
	b.log.LogAttrs(ctx, level, "message", attributes...)
}
