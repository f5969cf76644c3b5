package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// probe is the body of /livez and /readyz.
type probe struct {
	State     string    `json:"state"`
	Since     time.Time `json:"since"`
	LastAlive time.Time `json:"last_alive"`
	Error     string    `json:"error"`
}

func get(t *testing.T, h *health.Health, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func expectProbe(t *testing.T, h *health.Health, path string, code int, want probe) {
	t.Helper()
	w := get(t, h, path)
	var got probe
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s answers %q: %v", path, w.Body, err)
	}
	if diff := cmp.Diff(want, got); diff != "" || w.Code != code {
		t.Errorf("%s answers %d, want %d (-want +got):\n%s", path, w.Code, code, diff)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("%s answers with %s", path, got)
	}
}

func TestReadyMeansStreamingRecoveringOrStandby(t *testing.T) {
	t.Parallel()
	for state, code := range map[health.State]int{
		health.Starting:   http.StatusServiceUnavailable,
		health.Standby:    http.StatusOK,
		health.Recovering: http.StatusOK,
		health.Streaming:  http.StatusOK,
		health.Stopping:   http.StatusServiceUnavailable,
	} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := health.New(health.NewMetrics())
				h.Enter(state)
				now := time.Now().UTC()
				want := probe{State: string(state), Since: now, LastAlive: now}
				expectProbe(t, h, "/readyz", code, want)
				expectProbe(t, h, "/livez", http.StatusOK, want)
			})
		})
	}
}

func TestARelayWithoutASignOfLifeIsNotAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := health.New(health.NewMetrics())
		h.Enter(health.Streaming)
		since := time.Now().UTC()
		time.Sleep(time.Minute)
		h.Alive()
		alive := time.Now().UTC()
		want := probe{State: "streaming", Since: since, LastAlive: alive}
		time.Sleep(2*time.Minute - 1)
		expectProbe(t, h, "/livez", http.StatusOK, want)
		time.Sleep(time.Nanosecond)
		expectProbe(t, h, "/livez", http.StatusServiceUnavailable, want)
		expectProbe(t, h, "/readyz", http.StatusOK, want)
		h.Enter(health.Streaming) // a sign of life that does not change the state
		expectProbe(t, h, "/livez", http.StatusOK, probe{State: "streaming", Since: since, LastAlive: time.Now().UTC()})
	})
}

func TestProbesShowTheLastErrorUntilASessionWorks(t *testing.T) {
	t.Parallel()
	for _, state := range []health.State{health.Streaming, health.Recovering, health.Standby} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := health.New(health.NewMetrics())
				h.Enter(health.Streaming)
				time.Sleep(time.Second)
				h.Failed(errors.New("connection refused"))
				now := time.Now().UTC()
				expectProbe(t, h, "/readyz", http.StatusServiceUnavailable,
					probe{State: "starting", Since: now, LastAlive: now, Error: "connection refused"})
				h.Enter(state)
				expectProbe(t, h, "/readyz", http.StatusOK, probe{State: string(state), Since: now, LastAlive: now})
			})
		})
	}
}

func TestAnotherPathOrMethodIsNotServed(t *testing.T) {
	t.Parallel()
	h := health.New(health.NewMetrics())
	if w := get(t, h, "/"); w.Code != http.StatusNotFound {
		t.Errorf("/ answers %d", w.Code)
	}
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/livez", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST answers %d", w.Code)
	}
}

// TestTheMetricsAreAContract: alarms and dashboards depend on these names.
func TestTheMetricsAreAContract(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // so that the clock does not advance
		m := health.NewMetrics()
		h := health.New(m)
		observe(m, h)
		body := get(t, h, "/metrics").Body.String()
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
func observe(m *health.Metrics, h *health.Health) {
	h.Enter(health.Streaming)
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
	`relay_state{state="standby"} 0`,
	`relay_state{state="recovering"} 0`,
	`relay_state{state="stopping"} 0`,
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

func TestServeAnswersUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	address := freeAddress(t)
	h := health.New(health.NewMetrics())
	wait, err := h.Serve(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Serve(ctx, address); err == nil || !strings.Contains(err.Error(), "RELAY_LISTEN") {
		t.Errorf("the same address again: %v", err)
	}
	response, err := http.Get("http://" + address + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("/livez answers %s", response.Status)
	}
	cancel()
	if err := wait(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
