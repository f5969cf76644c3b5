package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// collector is an exporter that answers each export when the test allows it.
type collector struct {
	answers  chan error
	exported atomic.Int64
}

func (c *collector) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	select {
	case err := <-c.answers:
		if err == nil {
			c.exported.Add(int64(len(spans)))
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (*collector) Shutdown(context.Context) error { return nil }

// fixture is a queue in front of a collector.
type fixture struct {
	*collector
	queue   *queue
	log     *bytes.Buffer
	dropped map[string]int
	record  func(spans int)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{collector: &collector{answers: make(chan error)}, log: &bytes.Buffer{}, dropped: map[string]int{}}
	f.queue = newQueue(f.collector, &loss{
		count: func(reason string, spans int) { f.dropped[reason] += spans },
		log:   slog.New(slog.NewTextHandler(f.log, nil)),
	})
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(f.queue))
	f.record = func(spans int) {
		for range spans {
			_, span := provider.Tracer("test").Start(context.Background(), "span")
			span.End()
		}
	}
	return f
}

// answer lets the collector answer one export.
func (f *fixture) answer(t *testing.T, err error) {
	t.Helper()
	select {
	case f.answers <- err:
	case <-time.After(time.Minute):
		t.Fatal("no export began")
	}
}

// close ends the queue, whose last export the collector accepts.
func (f *fixture) close(t *testing.T) {
	t.Helper()
	close(f.answers)
	if err := f.queue.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAFullQueueDropsSpansAndNeverBlocks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.record(queueSize + 100) // the collector does not answer
	if got := f.dropped[reasonQueueFull]; got != 100 {
		t.Errorf("%d spans were dropped, want 100", got)
	}
	f.close(t)
	if got := f.exported.Load(); got != queueSize {
		t.Errorf("%d spans were exported, want %d", got, queueSize)
	}
	if got := strings.Count(f.log.String(), "event=spans_dropped"); got != 1 {
		t.Errorf("the log has %d lines for the full queue:\n%s", got, f.log)
	}
	if got := f.queue.waiting.Load(); got != 0 {
		t.Errorf("%d spans count as waiting", got)
	}
}

func TestAnOutageIsLoggedOnceAndItsSpansCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.record(2 * 512) // two batches
	f.answer(t, errors.New("away"))
	f.answer(t, errors.New("away"))
	f.record(3)
	f.close(t)
	if got := f.dropped[reasonExport]; got != 2*512 {
		t.Errorf("%d spans count as dropped, want %d", got, 2*512)
	}
	if got := f.exported.Load(); got != 3 {
		t.Errorf("%d spans were exported, want 3", got)
	}
	for _, event := range []string{"telemetry_failed", "telemetry_restored"} {
		if got := strings.Count(f.log.String(), "event="+event); got != 1 {
			t.Errorf("the log has %d lines %s:\n%s", got, event, f.log)
		}
	}
}
