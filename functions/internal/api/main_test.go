package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/outbox-relay/outbox-relay/functions/internal/api"
	"github.com/outbox-relay/outbox-relay/functions/internal/database"
	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	"github.com/outbox-relay/outbox-relay/functions/internal/order/ordertest"
	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// service is both functions on one database, wired as in their main packages.
type service struct {
	create, get api.Handler
	log         *bytes.Buffer
}

func newService(t *testing.T, url string) service {
	t.Helper()
	s, err := settings.Load(func(name string) string {
		return map[string]string{settings.DatabaseURL: url}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := database.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	store := order.NewStore(pool)
	return service{create: api.CreateOrder(store, logger), get: api.GetOrder(store, logger), log: &log}
}

// newDatabase returns the URL of a database with both parts of the schema.
func newDatabase(t *testing.T) string {
	t.Helper()
	return ordertest.Migrate(t, pgtest.NewDatabase(t))
}

// nowhere is a database that tests must not reach.
const nowhere = "postgres://unused@127.0.0.1:1/nothing"

const goodBody = `{"customer_id":"customer-1","currency":"EUR",` +
	`"lines":[{"sku":"coffee","quantity":2,"unit_price":1250}]}`

func post(body string) events.APIGatewayProxyRequest {
	return events.APIGatewayProxyRequest{
		Resource: "/orders", Path: "/orders", HTTPMethod: "POST",
		Headers:        map[string]string{"content-type": "application/json"},
		RequestContext: events.APIGatewayProxyRequestContext{RequestID: "request-1", Path: "/Prod/orders"},
		Body:           body,
	}
}

func get(id string) events.APIGatewayProxyRequest {
	return events.APIGatewayProxyRequest{
		Resource: "/orders/{id}", Path: "/orders/" + id, HTTPMethod: "GET",
		PathParameters: map[string]string{"id": id},
		RequestContext: events.APIGatewayProxyRequestContext{RequestID: "request-1"},
	}
}

// call invokes a handler with the deadline of a function with this timeout.
func call(t *testing.T, h api.Handler, request events.APIGatewayProxyRequest,
	timeout time.Duration,
) events.APIGatewayProxyResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	response, err := h(ctx, request)
	if err != nil {
		t.Fatalf("the handler failed instead of answering: %v", err)
	}
	if ctx.Err() != nil {
		t.Fatal("the handler answered after the function's deadline")
	}
	return response
}

const usual = 10 * time.Second

type problem struct {
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
	Errors    []struct {
		Pointer *string `json:"pointer"`
		Header  string  `json:"header"`
		Detail  string  `json:"detail"`
	} `json:"errors"`
}

// fields returns the locations of the errors.
func (p problem) fields() []string {
	var fields []string
	for _, e := range p.Errors {
		if e.Pointer != nil {
			fields = append(fields, *e.Pointer)
			continue
		}
		fields = append(fields, e.Header)
	}
	return fields
}

// mustBeProblem returns the response's problem, and requires the status both in the status line and
// in the body.
func mustBeProblem(t *testing.T, response events.APIGatewayProxyResponse, status int) problem {
	t.Helper()
	var p problem
	decoder := json.NewDecoder(strings.NewReader(response.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("body %q: %v", response.Body, err)
	}
	if response.StatusCode != status || p.Status != status ||
		response.Headers["Content-Type"] != "application/problem+json" {
		t.Fatalf("status %d (want %d), %v: %s", response.StatusCode, status, response.Headers, response.Body)
	}
	if p.RequestID != "request-1" || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %+v lacks something", p)
	}
	return p
}
