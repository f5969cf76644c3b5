package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// TestAnOrderIsOneTraceToItsShipment: the processes of API, relay and consumer export one trace,
// which the test prints. `make trace` runs it.
func TestAnOrderIsOneTraceToItsShipment(t *testing.T) {
	t.Parallel()
	w, c := newTestEnv(t, "unused.fifo"), newCollector(t)
	outputs := w.createMessaging()
	options := withShipments(w, outputs)
	options.Env = map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL}
	api := startFunctions(t, w, options)
	w.startStreaming("RELAY_DESTINATION="+outputs.TopicArn, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL,
		"OTEL_BSP_SCHEDULE_DELAY=50")
	w.postOrder(api.url)
	var tree spanTree
	w.eventually("the collector has all spans", func() bool {
		spans, _ := c.got("")
		tree = newSpanTree(spans)
		return len(spans) == 5
	})
	t.Logf("the trace of one order:\n%s", &tree)
	if diff := cmp.Diff([]string{
		"createorder: POST /orders",
		"  createorder: create order.created",
		"    outbox-relay: send order-events.fifo",
		"    createshipment: process order-events-shipments.fifo",
		"      createshipment: write shipment",
	}, tree.names()); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

func (w *testEnv) postOrder(api string) {
	w.t.Helper()
	response, err := http.Post(api+"/orders", "application/json", strings.NewReader(
		`{"customer_id":"customer-1","currency":"EUR","lines":[{"sku":"book","quantity":1,"unit_price":1999}]}`))
	w.must(err)
	response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		w.t.Fatalf("POST /orders: %s", response.Status)
	}
}

// TestATraceSurvivesTheClaimCheck: the span, the message and the event that a consumer resolves are
// in the producer's trace. In binary mode a CloudEvent has no room for both the pointer and the
// trace, unless it omits an attribute.
func TestATraceSurvivesTheClaimCheck(t *testing.T) {
	t.Parallel()
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for format, attributes := range map[string]string{
		"plain": "", "cloudevents": "", "cloudevents-binary": "aggregatetype=none",
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			w, c := newTestEnv(t, "orders.fifo"), newCollector(t)
			w.broker.CreateBucket(bucket)
			p := w.startStreaming(largeEvents, "RELAY_FORMAT="+format, "RELAY_CLOUDEVENTS_ATTRIBUTES="+attributes,
				"OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
			large := largeEvent(t, "1", 1, 2<<20)
			large.Headers = map[string]string{outbox.HeaderTraceparent: "00-" + trace + "-" + parent + "-01"}
			w.commit(large)
			received := w.awaitReceived(1)[0]
			if len(received.Body) > 1<<10 {
				t.Fatalf("the message has the body itself, of %d bytes", len(received.Body))
			}
			want := large.Headers[outbox.HeaderTraceparent]
			if got := w.resolve(received).Headers[outbox.HeaderTraceparent]; got != want {
				t.Errorf("the consumer reads traceparent %q", got)
			}
			w.awaitDelivered()
			p.stop() // exports the span
			spans, _ := c.got("")
			if len(spans) != 1 {
				t.Fatalf("%d spans, want 1", len(spans))
			}
			if got := fmt.Sprintf("%x %x", spans[0].TraceId, spans[0].ParentSpanId); got != trace+" "+parent {
				t.Errorf("the span is in the trace %s", got)
			}
		})
	}
}

// spanTree is a trace: each span with its depth, in the order of the tree.
type spanTree []struct {
	tracedSpan
	depth int
}

func newSpanTree(spans []tracedSpan) (tree spanTree) {
	spans = slices.SortedFunc(slices.Values(spans), func(a, b tracedSpan) int {
		return int(a.StartTimeUnixNano) - int(b.StartTimeUnixNano) //nolint:gosec // nanoseconds since 1970
	})
	var add func(parent []byte, depth int)
	add = func(parent []byte, depth int) {
		for _, span := range spans {
			if string(span.ParentSpanId) == string(parent) {
				tree = append(tree, struct {
					tracedSpan
					depth int
				}{span, depth})
				add(span.SpanId, depth+1)
			}
		}
	}
	add(nil, 0)
	return tree
}

func (tree spanTree) names() (names []string) {
	for _, span := range tree {
		names = append(names, strings.Repeat("  ", span.depth)+span.service+": "+span.Name)
	}
	return names
}

// String returns a line for each span: when it began after the first one, how long it took, which
// service made it, and its name.
func (tree spanTree) String() string {
	if len(tree) == 0 {
		return "no span"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%10s %10s  trace %x\n", "began", "took", tree[0].TraceId)
	for _, span := range tree {
		began := time.Duration(span.StartTimeUnixNano - tree[0].StartTimeUnixNano) //nolint:gosec // as above
		took := time.Duration(span.EndTimeUnixNano - span.StartTimeUnixNano)       //nolint:gosec // as above
		name := strings.Repeat("  ", span.depth) + span.Name
		fmt.Fprintf(&text, "%7.1f ms %7.1f ms  %-50s %s\n", milliseconds(began), milliseconds(took), name, span.service)
	}
	return text.String()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
