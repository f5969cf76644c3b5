// Package telemetry exports the spans of delivered events and the metrics to an OpenTelemetry
// collector. If the collector is slow or unavailable, spans are dropped, and no event is delayed.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const (
	// serviceName is the default of OTEL_SERVICE_NAME.
	serviceName = "outbox-relay"
	// scope is the instrumentation scope of the spans.
	scope = "github.com/outbox-relay/outbox-relay/relay"
	// closeTimeout bounds how long a stopping relay waits for the collector.
	closeTimeout = 2 * time.Second
)

// Settings configure an [Exporter]. The SDK itself reads the address of the collector and the other
// variables that begin with OTEL_.
type Settings struct {
	Traces, Metrics         bool // the signals to export
	Version, Slot, Instance string
	Gatherer                prometheus.Gatherer
	Dropped                 func(reason string, spans int) // counts lost spans
	Log                     *slog.Logger
}

// Exporter exports the signals of a relay. A nil Exporter exports nothing.
type Exporter struct {
	log     *slog.Logger
	tracer  trace.Tracer // nil without traces
	queue   *queue
	closers []func(context.Context) error
}

// Open returns an Exporter that runs until Close. It contacts no collector.
func Open(ctx context.Context, s Settings) (*Exporter, error) {
	loss := &loss{count: s.Dropped, log: s.Log}
	otel.SetLogger(logr.FromSlogHandler(s.Log.Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(loss.handle))
	identity, err := identityOf(ctx, s)
	if err != nil {
		return nil, err
	}
	e := &Exporter{log: s.Log}
	if s.Traces {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("open the exporter of traces: %w", err)
		}
		e.trace(exporter, identity, loss)
	}
	if s.Metrics {
		exporter, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open the exporter of metrics: %w", err), e.shutdown())
		}
		producer := bridge.NewMetricProducer(bridge.WithGatherer(s.Gatherer))
		reader := metric.NewPeriodicReader(&metricExporter{exporter, loss}, metric.WithProducer(producer))
		provider := metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(identity))
		e.closers = append(e.closers, provider.Shutdown)
	}
	return e, nil
}

// identityOf returns the resource of the relay. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have
// precedence.
func identityOf(ctx context.Context, s Settings) (*resource.Resource, error) {
	identity, err := resource.New(ctx,
		resource.WithAttributes(
			semconv.ServiceName(serviceName), semconv.ServiceVersion(s.Version), semconv.ServiceInstanceID(s.Instance),
			attribute.String("outbox.slot", s.Slot),
		),
		resource.WithFromEnv(),
		resource.WithTelemetrySDK(),
	)
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return identity, nil
}

// trace makes e export spans through exporter.
func (e *Exporter) trace(exporter sdktrace.SpanExporter, identity *resource.Resource, loss *loss) {
	e.queue = newQueue(exporter, loss)
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(e.queue), sdktrace.WithResource(identity))
	e.tracer = provider.Tracer(scope)
	e.closers = append(e.closers, provider.Shutdown)
}

// Close exports the rest, within closeTimeout.
func (e *Exporter) Close() {
	if e == nil {
		return
	}
	if err := e.shutdown(); err != nil {
		e.log.Warn("the last spans and metrics may not have reached the OpenTelemetry collector", "err", err)
	}
}

// shutdown ends all signals at the same time, so that one does not use up the time of the other.
func (e *Exporter) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	errs := make([]error, len(e.closers))
	var closing sync.WaitGroup
	for i, end := range e.closers {
		closing.Go(func() { errs[i] = end(ctx) })
	}
	closing.Wait()
	return errors.Join(errs...)
}
