package tracing_test

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/outbox-relay/outbox-relay/functions/internal/tracing"
)

const (
	endpoint    = "OTEL_EXPORTER_OTLP_ENDPOINT"
	traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

// spanHeaders returns the headers of an event in a span of this process, in the trace of a client.
func spanHeaders(t *testing.T) map[string]string {
	t.Helper()
	headers := map[string]string{"traceparent": traceparent}
	ctx, span := tracing.Start(tracing.Continue(t.Context(), headers), "span", trace.SpanKindServer)
	tracing.Headers(ctx, headers)
	tracing.End(span, nil)
	return headers
}

// Neither test is parallel, because the SDK reads the environment and is global.
func TestOnlyACollectorChangesTheTrace(t *testing.T) {
	for _, off := range []string{"OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none", ""} {
		getenv := func(name string) string {
			if off != "" && name == endpoint {
				return "http://127.0.0.1:4318"
			}
			if len(off) > len(name) && off[:len(name)] == name {
				return off[len(name)+1:]
			}
			return ""
		}
		flush, err := tracing.Open(t.Context(), getenv, "test")
		if err != nil {
			t.Fatal(err)
		}
		if got := spanHeaders(t)["traceparent"]; got != traceparent {
			t.Errorf("%q: the event has traceparent %s, want that of the client", off, got)
		}
		flush(t.Context())
	}
}

func TestASilentCollectorHardlyDelaysAnAnswer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	t.Setenv(endpoint, "http://"+listener.Addr().String())
	flush, err := tracing.Open(t.Context(), os.Getenv, "test")
	if err != nil {
		t.Fatal(err)
	}
	if got := spanHeaders(t)["traceparent"]; got == traceparent || got[:35] != traceparent[:35] {
		t.Errorf("the event has traceparent %s, want another span of the client's trace", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // of the function
	defer cancel()
	began := time.Now()
	flush(ctx)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the answer waits %v for the collector", took)
	}
}
