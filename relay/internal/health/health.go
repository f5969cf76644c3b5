// Package health exposes the state of the relay: probes for an orchestrator, beside its metrics and
// its page.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/rebinding"
)

// State is the current state of the relay.
type State string

// The states. A relay in standby waits for a slot that another relay holds.
const (
	Starting   State = "starting"
	Standby    State = "standby"
	Recovering State = "recovering"
	Streaming  State = "streaming"
	Stopping   State = "stopping"
)

var states = []State{Starting, Standby, Recovering, Streaming, Stopping}

// staleAfter is the time without a sign of life after which /livez fails. Every wait in the relay
// is shorter.
const staleAfter = 2 * time.Minute

// Health holds the state of the relay and serves it over HTTP.
type Health struct {
	HideMetrics bool         // /metrics is not served
	Page        http.Handler // of every other path; nil: nothing is served there
	// Slot and Instance name this relay in the bodies of the probes.
	Slot, Instance string
	// Troubled returns the destinations that do not work as they should; nil: none are known.
	Troubled func() []Destination
	metrics  *metrics.Metrics

	mu    sync.Mutex
	state State
	since time.Time
	alive time.Time
	err   string // of the last session, until the next one works

	warning string            // empty if there is none
	failing map[string]string // why a part of the session retries, by the name of the part
}

// New returns a Health in state [Starting].
func New(m *metrics.Metrics) *Health {
	h := &Health{metrics: m}
	h.Enter(Starting)
	return h
}

// Enter sets the state.
func (h *Health) Enter(state State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.state != state {
		h.since = now
	}
	if state == Streaming || state == Recovering || state == Standby {
		h.err = ""
	}
	h.state, h.alive = state, now
	for _, s := range states {
		h.metrics.State(string(s), s == state)
	}
}

// State returns the current state of the relay.
func (h *Health) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// Alive records a sign of life.
func (h *Health) Alive() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive = time.Now()
}

// Failed records why the last session ended.
func (h *Health) Failed(err error) {
	h.Enter(Starting)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err.Error()
}

// Warn sets the warning of a relay that works, or clears it if warning is empty.
func (h *Health) Warn(warning string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.warning = warning
}

// Retries records why a part of a working session retries. A nil error means that the part works.
func (h *Health) Retries(part string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		delete(h.failing, part)
		return
	}
	if h.failing == nil {
		h.failing = map[string]string{}
	}
	h.failing[part] = err.Error()
}

// RetriesEnd withdraws these reasons, because the session and all its parts have ended.
func (h *Health) RetriesEnd() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.failing)
}

// warnings returns everything that endangers or holds up a relay that works. The caller holds h.mu.
func (h *Health) warnings() (all []string) {
	if h.warning != "" {
		all = append(all, h.warning)
	}
	return append(all, h.retrying()...)
}

// retrying returns why parts of the session retry. The caller holds h.mu.
func (h *Health) retrying() (all []string) {
	for _, part := range slices.Sorted(maps.Keys(h.failing)) {
		all = append(all, part+" retries: "+h.failing[part])
	}
	return all
}

// Snapshot is a Health at a moment.
type Snapshot struct {
	State    State
	Since    time.Time
	Error    string   // of the last session, until the next one works
	Warnings []string // of a relay that works
	Retrying []string // those of Warnings that [Health.Retries] has recorded
}

// Now returns the Health as it is.
func (h *Health) Now() Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Snapshot{h.state, h.since, h.err, h.warnings(), h.retrying()}
}

// Destination is a topic or a queue in trouble, in the words of relay status.
type Destination struct {
	Name  string    `json:"name"`
	State string    `json:"state"` // throttled | unavailable
	Since time.Time `json:"since"`
	Code  string    `json:"code,omitempty"` // of the last failed request
	Error string    `json:"error,omitempty"`
}

// report is the body of both probes.
type report struct {
	Slot      string    `json:"slot"`
	Instance  string    `json:"instance"`
	State     State     `json:"state"`
	Since     time.Time `json:"since"`
	LastAlive time.Time `json:"last_alive"`
	Error     string    `json:"error,omitempty"`
	Warning   string    `json:"warning,omitempty"`

	Destinations []Destination `json:"destinations,omitempty"` // in trouble; only for /readyz
}

func (h *Health) report() report {
	h.mu.Lock()
	defer h.mu.Unlock()
	return report{
		Slot: h.Slot, Instance: h.Instance,
		State: h.state, Since: h.since, LastAlive: h.alive, Error: h.err,
		Warning: strings.Join(h.warnings(), "; "),
	}
}

// Handler serves /livez, /readyz, /metrics and the page.
//
// /livez fails when the relay shows no sign of life: restart the relay. /readyz fails while the
// relay neither streams nor waits for another relay that does. Its body has the reason, and names
// the destinations in trouble, which no restart of the relay repairs.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		r := h.report()
		respond(w, time.Since(r.LastAlive) < staleAfter, r)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := h.report()
		if h.Troubled != nil {
			r.Destinations = h.Troubled()
		}
		respond(w, r.State == Streaming || r.State == Recovering || r.State == Standby, r)
	})
	if !h.HideMetrics {
		mux.Handle("GET /metrics", h.metrics.Handler())
	}
	if h.Page != nil {
		mux.Handle("GET /", h.Page)
	}
	return mux
}

func respond(w http.ResponseWriter, ok bool, r report) {
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r)
}

// guarded returns the Handler for a listener. The listener of this machine alone refuses requests
// with other names. An address that others reach has names that the relay does not know.
func (h *Health) guarded(listener net.Addr, address string) http.Handler {
	if tcp, ok := listener.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return h.Handler()
	}
	name, _, _ := net.SplitHostPort(address) // the listener is open, so the address has a port
	return rebinding.Guard{Handler: h.Handler(), Name: name, Probes: []string{"/livez", "/readyz"}}
}

// Serve serves the probes on address until ctx ends. It returns after the listener is open, with a
// function that waits for the end of the server.
func (h *Health) Serve(ctx context.Context, address string) (wait func() error, err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for probes and metrics (RELAY_LISTEN): %w", err)
	}
	server := &http.Server{Handler: h.guarded(listener.Addr(), address), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	return func() error {
		defer stop()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve probes and metrics: %w", err)
		}
		return nil
	}, nil
}
