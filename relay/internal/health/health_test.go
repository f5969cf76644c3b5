package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
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
				h := health.New(metrics.New())
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
		h := health.New(metrics.New())
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
				h := health.New(metrics.New())
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
	h := health.New(metrics.New())
	if w := get(t, h, "/"); w.Code != http.StatusNotFound {
		t.Errorf("/ answers %d", w.Code)
	}
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/livez", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST answers %d", w.Code)
	}
}

func TestServeAnswersUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	address := freeAddress(t)
	h := health.New(metrics.New())
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
	port, err := procgroup.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
