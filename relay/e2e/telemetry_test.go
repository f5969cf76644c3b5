package e2e_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlpmetrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// collector is an OpenTelemetry collector that keeps what it receives, as http/protobuf.
type collector struct {
	*httptest.Server
	mu       sync.Mutex
	spans    []tracedSpan
	headers  http.Header
	received strings.Builder // all bodies
	metrics  map[string]float64
}

// tracedSpan is a span with the name of the service that made it.
type tracedSpan struct {
	*otlptrace.Span
	service string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{metrics: map[string]float64{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.receive(&collecttrace.ExportTraceServiceRequest{}))
	mux.HandleFunc("POST /v1/metrics", c.receive(&collectmetrics.ExportMetricsServiceRequest{}))
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

// receive returns a handler of requests of this type.
func (c *collector) receive(kind proto.Message) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		data, err := io.ReadAll(body)
		request := proto.Clone(kind)
		if err == nil {
			err = proto.Unmarshal(data, request)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.keep(request, string(data), r.Header)
	}
}

func (c *collector) keep(request proto.Message, body string, headers http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = headers
	c.received.WriteString(body)
	switch request := request.(type) {
	case *collecttrace.ExportTraceServiceRequest:
		for _, resource := range request.ResourceSpans {
			service := attributes(resource.Resource.Attributes)["service.name"]
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					c.spans = append(c.spans, tracedSpan{span, service})
				}
			}
		}
	case *collectmetrics.ExportMetricsServiceRequest:
		for _, resource := range request.ResourceMetrics {
			for _, scope := range resource.ScopeMetrics {
				c.keepMetrics(scope.Metrics)
			}
		}
	}
}

// keepMetrics keeps the sum of the counters of each name.
func (c *collector) keepMetrics(metrics []*otlpmetrics.Metric) {
	for _, metric := range metrics {
		sum := 0.0
		for _, point := range metric.GetSum().GetDataPoints() {
			sum += point.GetAsDouble()
		}
		c.metrics[metric.Name] = sum
	}
}

func attributes(all []*common.KeyValue) map[string]string {
	values := map[string]string{}
	for _, a := range all {
		values[a.Key] = a.Value.GetStringValue()
		if number, ok := a.Value.Value.(*common.AnyValue_IntValue); ok {
			values[a.Key] = fmt.Sprint(number.IntValue)
		}
	}
	return values
}

// got returns the spans and the sum of a counter so far.
func (c *collector) got(metric string) (spans []tracedSpan, sum float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spans, c.metrics[metric]
}

// commitTraced commits an event whose header traceparent has this value, and returns its id.
func (w *testEnv) commitTraced(aggregate, traceparent string) string {
	w.t.Helper()
	e := event(w.t, aggregate, `{"card":"4111-1111"}`)
	if traceparent != "" {
		e.Headers = map[string]string{outbox.HeaderTraceparent: traceparent}
	}
	w.commit(e)
	return e.ID.String()
}

func TestEachEventOfASampledTraceHasASpan(t *testing.T) {
	t.Parallel()
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	w, c := newTestEnv(t, "orders.fifo"), newCollector(t)
	p := w.startStreaming("OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_SERVICE_NAME=orders-relay",
		"OTEL_EXPORTER_OTLP_HEADERS=x-api-key=k", "OTEL_METRIC_EXPORT_INTERVAL=200")
	began := time.Now()
	id := w.commitTraced("1", "00-"+trace+"-"+parent+"-01")
	w.commitTraced("2", "00-"+trace+"-"+parent+"-00")
	w.commitTraced("3", "")
	w.awaitReceived(3)
	w.eventually("the collector has the metrics", func() bool {
		_, delivered := c.got("relay_events_delivered_total")
		return delivered == 3
	})
	p.stop() // exports the rest
	spans, _ := c.got("")
	if len(spans) != 1 {
		t.Fatalf("%d spans, want 1", len(spans))
	}
	span := spans[0]
	if got := fmt.Sprintf("%x %x", span.TraceId, span.ParentSpanId); got != trace+" "+parent {
		t.Errorf("the span is in the trace %s", got)
	}
	start, end := time.Unix(0, int64(span.StartTimeUnixNano)), time.Unix(0, int64(span.EndTimeUnixNano))
	if start.Before(began.Add(-time.Second)) || end.Before(start) || end.After(time.Now()) {
		t.Errorf("the span is from %v to %v, and the event was committed after %v", start, end, began)
	}
	got := attributes(span.Attributes)
	if got["outbox.event.id"] != id || got["outbox.event.type"] != "order.created" || got["outbox.attempts"] != "1" ||
		got["messaging.destination.name"] != "orders.fifo" || got["messaging.batch.message_count"] == "" {
		t.Errorf("attributes %v", got)
	}
	c.mu.Lock() // the handler of a request that the relay gave up may still run
	defer c.mu.Unlock()
	if span.service != "orders-relay" || c.headers.Get("X-Api-Key") != "k" {
		t.Errorf("service %q, headers %v", span.service, c.headers)
	}
	if strings.Contains(c.received.String(), "4111-1111") {
		t.Error("the collector got a payload")
	}
}

// closedAddress is the URL of a server that refuses connections. silentAddress is that of a server
// which accepts them and never answers.
func closedAddress(t *testing.T) string {
	t.Helper()
	return "http://" + freeAddress(t)
}

func silentAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return "http://" + listener.Addr().String()
}

func TestAnAbsentCollectorDelaysNoEvent(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*testing.T) string{"closed": closedAddress, "silent": silentAddress} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			p := w.startStreaming("OTEL_EXPORTER_OTLP_ENDPOINT="+address(t), "OTEL_BSP_SCHEDULE_DELAY=50",
				"OTEL_BSP_EXPORT_TIMEOUT=100", "OTEL_EXPORTER_OTLP_TIMEOUT=100", "OTEL_METRIC_EXPORT_INTERVAL=50")
			for i := range 20 {
				w.commitTraced(fmt.Sprint(i), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
			}
			w.awaitReceived(20)
			p.awaitLog("event=telemetry_failed signal=traces")
			w.commitTraced("last", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
			w.awaitReceived(21)
			stopping := time.Now()
			p.stop()
			if took := time.Since(stopping); took > 10*time.Second {
				t.Errorf("the relay needed %v to stop", took)
			}
			for _, signal := range []string{"traces", "metrics"} {
				if got := strings.Count(p.log.String(), "event=telemetry_failed signal="+signal); got > 1 {
					t.Errorf("the log has %d lines for the failure of %s", got, signal)
				}
			}
		})
	}
}
