package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// queueSize is the largest number of spans that wait for the collector.
const queueSize = 2048

// Reasons for the loss of a span.
const (
	reasonQueueFull = "queue_full"
	reasonExport    = "export_failed"
)

// queue is a batch processor that counts the spans that it drops. The processor of the SDK does not
// count them.
type queue struct {
	sdktrace.SpanProcessor
	waiting atomic.Int64
	loss    *loss
}

func newQueue(exporter sdktrace.SpanExporter, loss *loss) *queue {
	q := &queue{loss: loss}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(&spanExporter{exporter, q}, sdktrace.WithMaxQueueSize(queueSize))
	return q
}

// OnEnd hands a span to the batch processor, whose own queue is never full. It does not block.
func (q *queue) OnEnd(span sdktrace.ReadOnlySpan) {
	if q.waiting.Add(1) > queueSize {
		q.waiting.Add(-1)
		q.loss.overflowed()
		return
	}
	q.SpanProcessor.OnEnd(span)
}

// spanExporter is the exporter of a queue.
type spanExporter struct {
	sdktrace.SpanExporter
	queue *queue
}

// ExportSpans implements [sdktrace.SpanExporter].
func (x *spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := x.SpanExporter.ExportSpans(ctx, spans)
	x.queue.waiting.Add(-int64(len(spans)))
	if err != nil {
		x.queue.loss.count(reasonExport, len(spans))
	}
	x.queue.loss.exported(&x.queue.loss.traces, "traces", err)
	return nil
}

// metricExporter reports failures to loss. Later metrics include those that were not exported,
// because they are cumulative.
type metricExporter struct {
	metric.Exporter
	loss *loss
}

// Export implements [metric.Exporter].
func (x *metricExporter) Export(ctx context.Context, metrics *metricdata.ResourceMetrics) error {
	x.loss.exported(&x.loss.metrics, "metrics", x.Exporter.Export(ctx, metrics))
	return nil
}

// loss counts the spans that do not reach the collector. It logs the beginning and the end of an
// outage, and the first overflow of the queue.
type loss struct {
	count func(reason string, spans int)
	log   *slog.Logger

	traces, metrics atomic.Bool // the last export failed
	overflow, other sync.Once
}

func (l *loss) overflowed() {
	l.count(reasonQueueFull, 1)
	l.overflow.Do(func() {
		l.log.Warn("spans come faster than the OpenTelemetry collector accepts them: relay_spans_dropped_total "+
			"counts the dropped ones, and further drops are not logged", "event", "spans_dropped",
			"waiting", queueSize)
	})
}

// handle logs the first error that the SDK reports other than a failed export, for example that the
// collector accepted only some spans of a request.
func (l *loss) handle(err error) {
	l.other.Do(func() {
		l.log.Warn("OpenTelemetry reports an error: further ones are not logged", "event", "telemetry_error",
			"err", err)
	})
}

func (l *loss) exported(failing *atomic.Bool, signal string, err error) {
	switch failed := failing.Swap(err != nil); {
	case err != nil && !failed:
		l.log.Warn("the OpenTelemetry collector does not accept "+signal+": further failures are not logged. The "+
			"relay delivers events as before", "event", "telemetry_failed", "signal", signal, "err", err)
	case err == nil && failed:
		l.log.Info("the OpenTelemetry collector accepts "+signal+" again", "event", "telemetry_restored",
			"signal", signal)
	}
}
