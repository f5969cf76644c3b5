package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// TestTheMetricsAreAContract: alarms and dashboards depend on these names.
func TestTheMetricsAreAContract(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // so that the clock does not advance
		m := metrics.New()
		observe(m)
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		body := w.Body.String()
		for _, line := range contract {
			if !strings.Contains("\n"+body, "\n"+line) {
				t.Errorf("no line %s", line)
			}
		}
		if t.Failed() {
			t.Log(body)
		}
	})
}

// observe records at least one value for every metric.
func observe(m *metrics.Metrics) {
	m.State("starting", false)
	m.State("streaming", true)
	m.Received(2)
	m.Received(0)
	m.Recovered(1)
	m.HeadersDropped(4)
	m.Requested("orders", 10, 30*time.Millisecond, nil)
	m.Requested("orders", 1, 30*time.Millisecond, &sink.Error{Code: "Throttled"})
	m.Delivered("orders", []time.Duration{time.Second})
	m.Delivered("orders", []time.Duration{0})
	m.Retried("orders", "Throttled")
	m.Paced("orders", 300, true)
	m.Paused("orders", true)
	m.PausedFor(time.Minute)
	m.Stored("orders", 2, 5<<20)
	m.Unstored("orders", 1, &sink.Error{Code: "AccessDenied"})
	m.LargeEventsWait(time.Minute)
	m.Parked("orders", "InvalidMessageContents")
	m.GapFound()
	m.SessionEnded("fenced")
	m.Observed(checkpoint.Load{Events: 3, Bytes: 400}, slot.Observation{
		DeliveryLag: 5, RetainedWAL: 6,
		SafeWALSize: -1,
	})
	m.Saved(checkpoint.Position{FlushLSN: 0x1000})
}

var contract = []string{
	`relay_state{state="streaming"} 1`,
	`relay_state{state="starting"} 0`,
	`relay_events_received_total 2`,
	`relay_events_recovered_total 1`,
	`relay_headers_dropped_total 7`,
	`relay_requests_total{code="",destination="orders"} 1`,
	`relay_requests_total{code="Throttled",destination="orders"} 1`,
	`relay_request_duration_seconds_count{destination="orders"} 2`,
	`relay_request_duration_seconds_bucket{destination="orders",le="0.025"} 0`,
	`relay_request_duration_seconds_bucket{destination="orders",le="0.05"} 2`,
	`relay_paced_requests_per_second{destination="orders"} 300`,
	`relay_destination_throttled{destination="orders"} 1`,
	`relay_destination_paused{destination="orders"} 1`,
	`relay_pause_oldest_seconds 60`,
	`relay_large_events_total{destination="orders"} 2`,
	`relay_large_event_bytes_total{destination="orders"} 5.24288e+06`,
	`relay_large_events_failed_total{code="AccessDenied",destination="orders"} 1`,
	`relay_large_events_wait_seconds 60`,
	`relay_events_delivered_total{destination="orders"} 2`,
	`relay_commit_to_delivered_seconds_count{destination="orders"} 1`,
	`relay_commit_to_delivered_seconds_sum{destination="orders"} 1`,
	`relay_events_retried_total{code="Throttled",destination="orders"} 1`,
	`relay_events_parked_total{code="InvalidMessageContents",destination="orders"} 1`,
	`relay_slot_gaps_total 1`,
	`relay_sessions_total{reason="fenced"} 1`,
	`relay_window_events 3`,
	`relay_window_bytes 400`,
	`relay_delivery_lag_bytes 5`,
	`relay_retained_wal_bytes 6`,
	`relay_safe_wal_size_bytes -1`,
	`relay_flush_lsn_bytes 4096`,
	`relay_last_checkpoint_timestamp_seconds 9.466848e+08`,
	`go_goroutines `,
	`process_resident_memory_bytes `,
}
