package telemetry

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/history"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const (
	sampled   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	topic     = "arn:aws-cn:sns:cn-north-1:123456789012:orders.fifo"
)

var committed = time.Date(2026, 11, 23, 20, 38, 55, 0, time.UTC)

// tracedEvent returns an event whose header traceparent has this value.
func tracedEvent(id, traceparent string) *delivery.Event {
	return &delivery.Event{CommittedAt: committed, Message: sink.Message{
		EventID: id, Type: "order.created", Body: `{"secret":1}`,
		Attributes: []sink.Attribute{{Name: outbox.AttributeTraceparent, Value: traceparent}},
	}}
}

// recorded returns the spans of events that a destination accepted, except those with the id
// refused.
func recorded(t *testing.T, destination string, all ...*delivery.Event) tracetest.SpanStubs {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sdktrace.AlwaysSample()))
	e := &Exporter{tracer: provider.Tracer(scope)}
	results := make([]sink.Result, len(all))
	for i, event := range all {
		results[i].MessageID = sink.NewMessageID([]byte("m-" + event.Message.EventID))
		if event.Message.EventID == "refused" {
			results[i].Err = errors.New("refused")
		}
	}
	e.Recorder(&history.Recent{}).Accepted(destination, time.Now(), all, results)
	return spans.GetSpans()
}

func TestOnlyAcceptedEventsOfSampledTracesHaveSpans(t *testing.T) {
	t.Parallel()
	spans := recorded(t, topic, tracedEvent("1", sampled), tracedEvent("2", unsampled), tracedEvent("3", ""),
		tracedEvent("4", "no trace"), tracedEvent("refused", sampled), tracedEvent("5", strings.ToUpper(sampled)))
	if len(spans) != 1 {
		t.Fatalf("%d spans, want 1: %v", len(spans), spans)
	}
	attributes := map[string]string{}
	for _, a := range spans[0].Attributes {
		attributes[string(a.Key)] = a.Value.String()
	}
	if diff := cmp.Diff(map[string]string{
		"messaging.system": "aws.sns", "messaging.destination.name": "orders.fifo", "messaging.operation.name": "send",
		"messaging.operation.type": "send", "messaging.batch.message_count": "6", "messaging.message.id": "m-1",
		"outbox.event.id": "1", "outbox.event.type": "order.created", "outbox.attempts": "0",
	}, attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func TestASpanContinuesTheTraceFromTheCommit(t *testing.T) {
	t.Parallel()
	began := time.Now()
	span := recorded(t, topic, tracedEvent("1", sampled))[0]
	if got := span.SpanContext.TraceID().String(); got != sampled[3:35] {
		t.Errorf("trace %s", got)
	}
	if got := span.Parent; got.SpanID().String() != sampled[36:52] || !got.IsRemote() {
		t.Errorf("parent %v", got)
	}
	if span.Name != "send orders.fifo" || !span.StartTime.Equal(committed) || span.EndTime.Before(began) {
		t.Errorf("span %s from %v to %v", span.Name, span.StartTime, span.EndTime)
	}
}

// An event from the table has no commit time, and the server's clock may be ahead.
func TestASpanNeverStartsAfterItsEnd(t *testing.T) {
	t.Parallel()
	fromTable, ahead := tracedEvent("1", sampled), tracedEvent("2", sampled)
	fromTable.CommittedAt, fromTable.ReadAt = time.Time{}, committed.Add(time.Second)
	ahead.CommittedAt = time.Now().Add(time.Hour)
	spans := recorded(t, topic, fromTable, ahead)
	if !spans[0].StartTime.Equal(fromTable.ReadAt) {
		t.Errorf("the event from the table starts at %v", spans[0].StartTime)
	}
	if !spans[1].StartTime.Equal(spans[1].EndTime) {
		t.Errorf("span from %v to %v", spans[1].StartTime, spans[1].EndTime)
	}
}

func TestDestinationsAreNamedByTheirARN(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string][2]string{
		topic:                                  {"aws.sns", "orders.fifo"},
		"arn:aws:sqs:eu-west-1:1:orders":       {"aws_sqs", "orders"},
		"arn:aws:events:eu-west-1:1:event-bus": {"aws.events", "event-bus"},
	} {
		if system, name := describe(arn); system != want[0] || name != want[1] {
			t.Errorf("%s is %s of %s, want %v", arn, name, system, want)
		}
	}
}

// Not parallel, because it counts allocations.
func TestWithoutAnExporterAnEventCostsNothing(t *testing.T) {
	recent := &history.Recent{}
	recorder := (*Exporter)(nil).Recorder(recent)
	if recorder != delivery.Recorder(recent) {
		t.Fatalf("the recorder is a %T", recorder)
	}
	all, results := []*delivery.Event{tracedEvent("1", sampled)}, make([]sink.Result, 1)
	if allocs := testing.AllocsPerRun(100, func() { recorder.Accepted(topic, committed, all, results) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	(*Exporter)(nil).Close()
}

// Not parallel, because it counts allocations.
func TestEventsWithoutATraceCostNoAllocation(t *testing.T) {
	e := &Exporter{tracer: sdktrace.NewTracerProvider().Tracer(scope)}
	recorder := e.Recorder(&history.Recent{})
	all, results := []*delivery.Event{tracedEvent("1", "")}, make([]sink.Result, 1)
	if allocs := testing.AllocsPerRun(100, func() { recorder.Accepted(topic, committed, all, results) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
