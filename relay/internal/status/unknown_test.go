package status

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

// TestBlindStatusAssertsNothingOfTheSlot: a monitor must not read that the slot is gone.
func TestBlindStatusAssertsNothingOfTheSlot(t *testing.T) {
	t.Parallel()
	h := &Handler{Slot: "orders", Open: func(context.Context) (*pgxpool.Pool, error) {
		return nil, context.DeadlineExceeded
	}}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/status", nil))
	if body := answer.Body.String(); answer.Code != http.StatusServiceUnavailable ||
		!strings.Contains(body, `"slot":{"name":"orders"}`) {
		t.Errorf("/status answers %d\n%s", answer.Code, body)
	}
}

// TestHangingDatabaseIsNamedWithTheNextStep: a lock keeps the statements waiting.
func TestHangingDatabaseIsNamedWithTheNextStep(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(t.Context(), `LOCK TABLE relay_checkpoints`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // it connects by then
	defer cancel()
	_, err = Collect(ctx, pool, "orders")
	host := pool.Config().ConnConfig.Host
	for _, want := range []string{"the database at " + host, "pg_stat_activity", "Database busy"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q: %v", want, err)
		}
	}
}

// TestUnknownSlotNamesTheKnownOnes: the operator may have set another RELAY_SLOT.
func TestUnknownSlotNamesTheKnownOnes(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	next := func() string {
		t.Helper()
		s, err := Collect(t.Context(), pool, "wrong")
		if err != nil {
			t.Fatal(err)
		}
		problem := s.problem("relay_missing")
		if problem == nil {
			t.Fatalf("the problems are %+v", s.Problems)
		}
		return problem.Next
	}
	if text := next(); strings.Contains(text, "the last one") || !strings.Contains(text, "start a relay") {
		t.Errorf("without any relay the next step is: %s", text)
	}
	row := checkpoint.Row{Table: "public.outbox_events", SystemIdentifier: "1", Horizon: "3:3:"}
	if err := checkpoint.NewStore(pool, "orders").Create(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	if text := next(); !strings.Contains(text, "RELAY_SLOT") || !strings.Contains(text, "orders") {
		t.Errorf("beside another slot the next step is: %s", text)
	}
}
