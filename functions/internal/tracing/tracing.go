// Package tracing exports the spans of a function to an OpenTelemetry collector. Without the
// endpoint of a collector no span is made.
package tracing

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const (
	scope = "github.com/outbox-relay/outbox-relay/functions"
	// flushTimeout is the longest time that an unavailable collector adds to an invocation. The
	// handlers reserve more than that for their answer.
	flushTimeout = 300 * time.Millisecond
)

// Open has the spans of this process exported to the collector that getenv names. The SDK reads the
// other variables that begin with OTEL_. flush exports the recorded spans. Lambda freezes a
// process after its answer, so each invocation ends with flush.
func Open(ctx context.Context, getenv func(string) string, service string) (flush func(context.Context), err error) {
	if !isOn(getenv) {
		return func(context.Context) {}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the exporter of traces: %w", err)
	}
	identity, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName(service)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(identity))
	otel.SetTracerProvider(provider)
	return func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, flushTimeout)
		defer cancel()
		if err := provider.ForceFlush(ctx); err != nil {
			otel.Handle(err)
		}
	}, nil
}

func isOn(getenv func(string) string) bool {
	hasEndpoint := getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	return hasEndpoint && !strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") &&
		getenv("OTEL_TRACES_EXPORTER") != "none"
}

// Start begins a span. Its parent is the span of ctx.
func Start(ctx context.Context, name string, kind trace.SpanKind, attributes ...attribute.KeyValue,
) (context.Context, trace.Span) {
	return otel.Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
}

// End ends a span, with the failure if err is not nil.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Continue returns ctx in the trace of headers. It returns ctx itself if they name no trace.
func Continue(ctx context.Context, headers map[string]string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(headers))
}

// Headers writes the span of ctx into headers if this process has made it.
func Headers(ctx context.Context, headers map[string]string) {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() && !span.IsRemote() {
		propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(headers))
	}
}
