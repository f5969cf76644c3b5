package telemetry

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// Attributes of a span that the semantic conventions do not define.
const (
	attributeEventID   = attribute.Key("outbox.event.id")
	attributeEventType = attribute.Key("outbox.event.type")
	attributeAttempts  = attribute.Key("outbox.attempts")
)

// operation is the name and the type of the operation that a span describes.
const operation = "send"

// Recorder returns a [delivery.Recorder] that makes a span of each accepted event whose message
// belongs to a sampled trace. It returns next if e exports no traces.
func (e *Exporter) Recorder(next delivery.Recorder) delivery.Recorder {
	if e == nil || e.tracer == nil {
		return next
	}
	return &recorder{Recorder: next, tracer: e.tracer}
}

type recorder struct {
	delivery.Recorder
	tracer trace.Tracer
}

// Accepted implements [delivery.Recorder].
func (r *recorder) Accepted(destination string, sent time.Time, all []*delivery.Event, results []sink.Result) {
	now := time.Now()
	for i, e := range all {
		if results[i].Err != nil {
			continue
		}
		if parent, sampled := parentOf(&e.Message); sampled {
			r.record(parent, destination, e, now, len(all), results[i].MessageID.String())
		}
	}
	r.Recorder.Accepted(destination, sent, all, results)
}

// record makes the span of an event, from its commit to now. The message names another span as its
// creation context, so the kind is client.
// https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
func (r *recorder) record(parent context.Context, destination string, e *delivery.Event, now time.Time, batch int,
	messageID string,
) {
	system, name := describe(destination)
	_, span := r.tracer.Start(parent, operation+" "+name,
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(startOf(e, now)),
		trace.WithAttributes(
			semconv.MessagingSystemKey.String(system),
			semconv.MessagingDestinationName(name),
			semconv.MessagingOperationName(operation),
			semconv.MessagingOperationTypeSend,
			semconv.MessagingBatchMessageCount(batch),
			semconv.MessagingMessageID(messageID),
			attributeEventID.String(e.Message.EventID),
			attributeEventType.String(e.Message.Type),
			attributeAttempts.Int(e.Attempts()),
		))
	span.End(trace.WithTimestamp(now))
}

// startOf returns the commit time of an event. An event that was read from the table has none, and
// starts when delivery received it. The commit time is by the server's clock, which may be ahead.
func startOf(e *delivery.Event, now time.Time) time.Time {
	start := e.CommittedAt
	if start.IsZero() {
		start = e.ReadAt
	}
	if start.After(now) {
		return now
	}
	return start
}

// describe returns the messaging system and the name of a destination, by its ARN.
func describe(arn string) (system, name string) {
	name = arn[strings.LastIndexByte(arn, ':')+1:]
	_, rest, _ := strings.Cut(arn, ":")
	_, rest, _ = strings.Cut(rest, ":") // aws, aws-cn or another partition
	switch service, _, _ := strings.Cut(rest, ":"); service {
	case "sqs":
		return semconv.MessagingSystemAWSSQS.Value.AsString(), name
	case "sns":
		return semconv.MessagingSystemAWSSNS.Value.AsString(), name
	default:
		return "aws." + service, name
	}
}

// parentOf returns a context with the trace of a message, and whether that trace is sampled.
func parentOf(m *sink.Message) (parent context.Context, sampled bool) {
	parent = propagation.TraceContext{}.Extract(context.Background(), (*carrier)(m))
	return parent, trace.SpanContextFromContext(parent).IsSampled()
}

// carrier reads the attributes of a message as a [propagation.TextMapCarrier].
type carrier sink.Message

// Get implements [propagation.TextMapCarrier].
func (c *carrier) Get(name string) string {
	for i := range c.Attributes {
		if c.Attributes[i].Name == name {
			return c.Attributes[i].Value
		}
	}
	return ""
}

// Set implements [propagation.TextMapCarrier]. The message is not changed.
func (*carrier) Set(string, string) {}

// Keys implements [propagation.TextMapCarrier]. Extract does not call it.
func (*carrier) Keys() []string { return nil }
