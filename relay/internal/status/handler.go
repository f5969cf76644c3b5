package status

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"
)

const (
	// collectTimeout bounds one collection. collectInterval is the pause between two collections,
	// whatever the number of clients.
	collectTimeout, collectInterval = 5 * time.Second, time.Second
)

// Handler serves the [Status] of a slot as JSON. If the database does not answer, it serves the
// report of this relay with status 503.
type Handler struct {
	Slot  string
	Local *Local                                       // nil outside of a relay
	Open  func(context.Context) (*pgxpool.Pool, error) // returns the same pool each time

	looks       singleflight.Group // one at a time, for all requests meanwhile; it guards the fields below
	collected   *Status
	collectedAt time.Time
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, err := h.status(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(status)
}

// status returns the last status if it is recent, or else that of one look at the database, for all
// requests that come meanwhile. If the client of the request that looks leaves, another request
// looks.
func (h *Handler) status(ctx context.Context) (*Status, error) {
	for {
		found, err, _ := h.looks.Do("", func() (any, error) { return h.look(ctx) })
		if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
			return found.(*Status), err
		}
	}
}

func (h *Handler) look(ctx context.Context) (*Status, error) {
	if h.collected != nil && time.Since(h.collectedAt) < collectInterval {
		return h.collected, nil
	}
	ctx, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	status, err := h.collect(ctx)
	if err != nil {
		return h.alone(err), err
	}
	h.collected, h.collectedAt = status, time.Now()
	return status, nil
}

func (h *Handler) collect(ctx context.Context) (status *Status, err error) {
	pool, err := h.Open(ctx)
	if err != nil {
		return nil, err
	}
	status, err = Collect(ctx, pool, h.Slot)
	if err != nil {
		pool.Reset() // a connection that failed is not used again
	}
	return status, err
}

// alone returns the report of this relay, without the database.
func (h *Handler) alone(err error) *Status {
	now, relays := time.Now().UTC(), []Relay{}
	if h.Local != nil {
		relays = append(relays, Relay{Report: h.Local.Report(), ReportedAt: now})
	}
	return &Status{
		Version: formatVersion, At: now, Level: Critical, Slot: Slot{Name: h.Slot, unknown: true}, Relays: relays,
		Problems: []Problem{{
			Level: Critical, Code: "database_unreachable", Problem: "the database does not answer: " + err.Error(),
			Next: "check address, password and network; the relay retries by itself", Runbook: "Relay not streaming",
		}},
	}
}
