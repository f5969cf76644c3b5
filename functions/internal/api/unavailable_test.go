package api_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/functions/internal/order/ordertest"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// short is a function's timeout in these tests: a second of work and the margin for the answer.
const short = 1500 * time.Millisecond

func mustBeUnavailable(t *testing.T, service service, secret string) {
	t.Helper()
	response := call(t, service.create, post(goodBody), short)
	mustBeProblem(t, response, http.StatusServiceUnavailable)
	if response.Headers["Retry-After"] == "" {
		t.Error("no Retry-After")
	}
	if strings.Contains(response.Body, secret) || !strings.Contains(service.log.String(), secret) {
		t.Errorf("%q belongs into the log and not into the answer:\n%s\n%s", secret, response.Body, service.log)
	}
}

func TestDeadDatabaseIsA503(t *testing.T) {
	t.Parallel()
	mustBeUnavailable(t, newService(t, nowhere), "127.0.0.1")
}

func TestSilentDatabaseIsA503BeforeTheDeadline(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	mustBeUnavailable(t, newService(t, "postgres://unused@"+listener.Addr().String()+"/nothing?sslmode=disable"),
		"deadline")
}

func TestSlowDatabaseIsA503AndLeavesNothing(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	tx, err := ordertest.Connect(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE outbox_events`); err != nil {
		t.Fatal(err)
	}
	service := newService(t, url)
	mustBeUnavailable(t, service, "insert outbox events")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	var orders int
	if err := ordertest.Connect(t, url).QueryRow(t.Context(),
		`SELECT count(*) FROM orders`).Scan(&orders); err != nil || orders != 0 {
		t.Errorf("%d orders are left, %v", orders, err)
	}
	// The pool's only connection is free again.
	if response := call(t, service.create, post(goodBody), usual); response.StatusCode != http.StatusCreated {
		t.Errorf("%d: %s", response.StatusCode, response.Body)
	}
}

func TestDatabaseOutOfConnectionsIsA503(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	admin := ordertest.Connect(t, pgtest.SuperuserURL(t, url))
	_, err := admin.Exec(t.Context(), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 0', `+
		`current_database()); END $$`)
	if err != nil {
		t.Fatal(err)
	}
	mustBeUnavailable(t, newService(t, url), "too many connections")
}

func TestBrokenSchemaIsA500ThatTellsTheLogOnly(t *testing.T) {
	t.Parallel()
	service := newService(t, pgtest.NewDatabase(t))
	response := call(t, service.create, post(goodBody), usual)
	mustBeProblem(t, response, http.StatusInternalServerError)
	if strings.Contains(response.Body, "relation") || !strings.Contains(service.log.String(), "relation") {
		t.Errorf("answer %s, log %s", response.Body, service.log)
	}
}
