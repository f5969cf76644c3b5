package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/outbox-relay/outbox-relay/functions/internal/api"
	"github.com/outbox-relay/outbox-relay/functions/internal/order/ordertest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

type storedEvent struct {
	AggregateID, Payload string
	Headers              map[string]string
}

func storedEvents(t *testing.T, url string) []storedEvent {
	t.Helper()
	rows, err := ordertest.Connect(t, url).Query(t.Context(),
		`SELECT aggregate_id, payload::text, headers FROM outbox_events ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []storedEvent
	for rows.Next() {
		var e storedEvent
		if err := rows.Scan(&e.AggregateID, &e.Payload, &e.Headers); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestEveryOrderHasOneEventWithWhatTheAPIAnswered(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	service := newService(t, url)
	request := post(goodBody)
	request.Headers["IDEMPOTENCY-KEY"] = "k"
	created := call(t, service.create, request, usual)
	if created.StatusCode != http.StatusCreated {
		t.Fatalf("%d: %s", created.StatusCode, created.Body)
	}
	again := call(t, service.create, request, usual)
	if again.StatusCode != http.StatusOK {
		t.Fatalf("again: %d: %s", again.StatusCode, again.Body)
	}
	stored := storedEvents(t, url)
	if len(stored) != 1 {
		t.Fatalf("%d events", len(stored))
	}
	id := stored[0].AggregateID
	read := call(t, service.get, get(id), usual)
	for what, body := range map[string]string{
		"second answer": again.Body, "order read": read.Body,
		"event": stored[0].Payload,
	} {
		if body != created.Body {
			t.Errorf("%s %s\nfirst answer %s", what, body, created.Body)
		}
	}
	for _, response := range []events.APIGatewayProxyResponse{created, again} {
		if got, want := response.Headers["Location"], "/Prod/orders/"+id; got != want {
			t.Errorf("Location %q, want %q", got, want)
		}
	}
}

func TestSameBodyInOtherWordsIsTheSameOrder(t *testing.T) {
	t.Parallel()
	service := newService(t, newDatabase(t))
	first := encoded(goodBody)
	second := post(` { "lines" : [ { "unit_price":1250, "quantity":2, "sku":"coff\u0065e" } ], "currency":"EUR", ` +
		`"customer_id":"customer-1" } `)
	third := post(strings.Replace(goodBody, "1250", "1251", 1))
	for i, test := range []struct {
		request events.APIGatewayProxyRequest
		status  int
	}{{first, http.StatusCreated}, {second, http.StatusOK}, {third, http.StatusUnprocessableEntity}} {
		test.request.MultiValueHeaders = map[string][]string{"idempotency-key": {"k"}}
		if response := call(t, service.create, test.request, usual); response.StatusCode != test.status {
			t.Errorf("request %d: status %d, want %d: %s", i, response.StatusCode, test.status, response.Body)
		}
	}
}

func TestUnknownOrderIsNotFound(t *testing.T) {
	t.Parallel()
	mustBeProblem(t, call(t, newService(t, newDatabase(t)).get, get(uuid.NewString()), usual), http.StatusNotFound)
}

func TestTraceOfTheRequestIsInTheEvent(t *testing.T) {
	t.Parallel()
	const (
		good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		xray = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1"
	)
	url := newDatabase(t)
	service := newService(t, url)
	tests := []struct {
		headers map[string][]string
		want    map[string]string
	}{
		{nil, map[string]string{}},
		{
			map[string][]string{"TraceParent": {good}, "X-Amzn-Trace-Id": {xray}},
			map[string]string{outbox.HeaderTraceparent: good, outbox.HeaderXRay: xray},
		},
		{map[string][]string{"traceparent": {good, good}}, map[string]string{}},
		{map[string][]string{"traceparent": {strings.ToUpper(good)}}, map[string]string{}},
		{map[string][]string{"traceparent": {good + "-more"}}, map[string]string{}},
		{
			map[string][]string{"traceparent": {"cc" + good[2:] + "-more"}},
			map[string]string{outbox.HeaderTraceparent: "cc" + good[2:] + "-more"},
		},
		{map[string][]string{"traceparent": {"ff" + good[2:]}}, map[string]string{}},
		{
			map[string][]string{"traceparent": {"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}},
			map[string]string{},
		},
		{
			map[string][]string{"traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"}},
			map[string]string{},
		},
		{map[string][]string{"x-amzn-trace-id": {"Root=1\n"}}, map[string]string{}},
	}
	for _, test := range tests {
		request := post(goodBody)
		request.MultiValueHeaders = test.headers
		if response := call(t, service.create, request, usual); response.StatusCode != http.StatusCreated {
			t.Fatalf("%d: %s", response.StatusCode, response.Body)
		}
	}
	for i, event := range storedEvents(t, url) {
		if diff := cmp.Diff(tests[i].want, event.Headers); diff != "" {
			t.Errorf("headers of event %d, of a request with %v (-want +got):\n%s", i, tests[i].headers, diff)
		}
	}
}

func TestTraceOfTheInvocationGoesBeforeThatOfTheClient(t *testing.T) {
	t.Parallel()
	const client = "Root=1-67891233-abcdef012345678912345678"
	const invocation = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1"
	url := newDatabase(t)
	create := newService(t, url).create
	request := post(goodBody)
	request.MultiValueHeaders = map[string][]string{"X-Amzn-Trace-Id": {client}}
	ctx := context.WithValue(t.Context(), "x-amzn-trace-id", invocation) //nolint:staticcheck // aws-lambda-go has it
	if response, err := create(ctx, request); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("%d: %v", response.StatusCode, err)
	}
	if got := storedEvents(t, url)[0].Headers[outbox.HeaderXRay]; got != invocation {
		t.Errorf("the event has the trace %q", got)
	}
}

// The samples are input for `sam local invoke -e`.
func TestSampleEventsAreAnswered(t *testing.T) {
	t.Parallel()
	service := newService(t, newDatabase(t))
	for _, sample := range []struct {
		file    string
		handler api.Handler
		status  int
	}{
		{"../../createorder/event.json", service.create, http.StatusCreated},
		{"../../getorder/event.json", service.get, http.StatusNotFound},
	} {
		text, err := os.ReadFile(sample.file)
		if err != nil {
			t.Fatal(err)
		}
		var request api.Request
		if err := json.Unmarshal(text, &request); err != nil {
			t.Fatal(err)
		}
		if response := call(t, sample.handler, request, usual); response.StatusCode != sample.status {
			t.Errorf("%s: %d %s", sample.file, response.StatusCode, response.Body)
		}
	}
}
