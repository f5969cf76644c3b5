package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/localstack/run/gateway"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// startOrders serves the functions of this project as they ship, with a migrated database.
func startOrders(t *testing.T, concurrency int) (g *gateway.Gateway, databaseURL string) {
	t.Helper()
	if err := built.orders(); err != nil {
		t.Fatal(err)
	}
	databaseURL = pgtest.NewDatabase(t)
	migrate := exec.CommandContext(t.Context(), filepath.Join(built.dir, "migrate"))
	migrate.Env = append(os.Environ(), "DATABASE_URL="+databaseURL)
	if output, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v: %s", err, output)
	}
	return start(t, gateway.Options{
		Template: template, Concurrency: concurrency,
		Env: map[string]string{"DATABASE_URL": databaseURL, "DATABASE_AUTH": "password"},
	}), databaseURL
}

var asJSON = http.Header{"Content-Type": {"application/json"}}

const goodOrder = `{"customer_id":"customer-1","currency":"EUR",` +
	`"lines":[{"sku":"coffee","quantity":2,"unit_price":1250}]}`

func TestOrderPostedCanBeReadAndHasItsEvent(t *testing.T) {
	t.Parallel()
	g, databaseURL := startOrders(t, 1)
	created := send(t, "POST", g.URL()+"/orders", goodOrder, asJSON)
	if created.status != http.StatusCreated {
		t.Fatalf("%d %s", created.status, created.body)
	}
	read := send(t, "GET", g.URL()+created.header.Get("Location"), "", nil)
	if read.status != http.StatusOK || read.body != created.body {
		t.Errorf("read %d %s, created %s", read.status, read.body, created.body)
	}
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var payload, trace string
	err = conn.QueryRow(t.Context(), `SELECT payload::text, headers->>'x-amzn-trace-id'
		FROM outbox_events`).Scan(&payload, &trace)
	if err != nil || payload != created.body || trace != created.header.Get("X-Amzn-Trace-Id") {
		t.Errorf("event %s with trace %s: %v", payload, trace, err)
	}
}

func TestRefusalHasTheRequestIDOfTheGateway(t *testing.T) {
	t.Parallel()
	g, _ := startOrders(t, 1)
	for _, test := range []struct {
		method, path, body string
		header             http.Header
		status             int
	}{
		{"POST", "/orders", `{"customer_id":1}`, asJSON, http.StatusBadRequest},
		{"POST", "/orders", goodOrder, nil, http.StatusUnsupportedMediaType},
		{"POST", "/orders", "\xff", asJSON, http.StatusBadRequest},
		{"POST", "/orders", strings.Repeat(" ", 1<<20), asJSON, http.StatusRequestEntityTooLarge},
		{"GET", "/orders/1", "", nil, http.StatusBadRequest},
		{"GET", "/orders/01937b4e-7d4a-7c3e-9f57-0a8a3c1d2e4f", "", nil, http.StatusNotFound},
	} {
		a := send(t, test.method, g.URL()+test.path, test.body, test.header)
		var problem struct {
			RequestID string `json:"request_id"`
		}
		err := json.Unmarshal([]byte(a.body), &problem)
		if a.status != test.status || err != nil || problem.RequestID != a.header.Get("X-Amzn-Requestid") ||
			a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %v %s", test.method, test.path, a.status, a.header, a.body)
		}
	}
}

func TestConcurrentRequestsOfOneKeyMakeOneOrder(t *testing.T) {
	t.Parallel()
	const clients = 20
	g, _ := startOrders(t, 4)
	answers := make([]answer, clients)
	var group errgroup.Group
	for i := range clients {
		group.Go(func() error {
			answers[i] = send(t, "POST", g.URL()+"/orders", goodOrder,
				http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"k"}})
			return nil
		})
	}
	_ = group.Wait() // send ends the test
	created := 0
	for _, a := range answers {
		if a.body != answers[0].body || a.status != http.StatusOK && a.status != http.StatusCreated {
			t.Errorf("%d %s, another %s", a.status, a.body, answers[0].body)
		}
		if a.status == http.StatusCreated {
			created++
		}
	}
	if created != 1 {
		t.Errorf("%d orders created", created)
	}
}
