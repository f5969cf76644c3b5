package history

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// findTimeout bounds one search. lastInterval is the pause between two reads of the last
	// events, whatever the number of clients.
	findTimeout, lastInterval = 5 * time.Second, time.Second
	// longestAsked bounds the id of an event in a request, in bytes.
	longestAsked = 1024
)

// Handler serves the history of events as JSON.
type Handler struct {
	Finder
	Open func(context.Context) (*pgxpool.Pool, error)

	once   sync.Once
	turn   chan struct{} // held by the request that reads the database; it guards last and lastAt
	last   *Last
	lastAt time.Time
}

// Last serves the last events.
func (h *Handler) Last(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, func(ctx context.Context, pool *pgxpool.Pool) (any, error) {
		if h.last == nil || time.Since(h.lastAt) >= lastInterval {
			last, err := h.Finder.Last(ctx, pool)
			if err != nil {
				return nil, err
			}
			h.last, h.lastAt = last, time.Now()
		}
		return h.last, nil
	})
}

// One serves the event whose id is in the path.
func (h *Handler) One(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if len(id) > longestAsked || !utf8.ValidString(id) || strings.Contains(id, "\x00") {
		http.Error(w, "an event id is a text of at most 1024 bytes", http.StatusBadRequest)
		return
	}
	h.serve(w, r, func(ctx context.Context, pool *pgxpool.Pool) (any, error) { return h.Find(ctx, pool, id) })
}

// failure is the answer if the database does not answer.
type failure struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	Error   string    `json:"error"`
}

func (h *Handler) serve(
	w http.ResponseWriter,
	r *http.Request,
	read func(context.Context, *pgxpool.Pool) (any, error),
) {
	ctx, cancel := context.WithTimeout(r.Context(), findTimeout)
	defer cancel()
	answer, err := h.inTurn(ctx, read)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		answer = failure{Version: formatVersion, At: time.Now().UTC(), Error: err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// inTurn reads once no other request does. The time of ctx covers the wait: where the database does
// not answer, the requests of many clients end together.
func (h *Handler) inTurn(ctx context.Context, read func(context.Context, *pgxpool.Pool) (any, error)) (any, error) {
	h.once.Do(func() { h.turn = make(chan struct{}, 1) })
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another request, which the database does not answer: %w", ctx.Err())
	}
	pool, err := h.Open(ctx)
	if err != nil {
		return nil, err
	}
	return read(ctx, pool)
}
