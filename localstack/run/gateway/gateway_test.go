package gateway_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/outbox-relay/outbox-relay/localstack/run/gateway"
)

func TestEventEqualsThatOfAPIGateway(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, gateway.Options{})
	header := http.Header{"X-Twice": {"1", "2"}, "User-Agent": {"test"}, "X-Amzn-Trace-Id": {"Root=1-2-3"}}
	a := send(t, "PUT", g.URL()+"/do/echo%20it?q=1&q=2&r=3", "the body", header)
	event := echo(t, a).Event
	host := strings.TrimPrefix(g.URL(), "http://")
	want := events.APIGatewayProxyRequest{
		Resource: "/do/{fault}", Path: "/do/echo it", HTTPMethod: "PUT",
		QueryStringParameters:           map[string]string{"q": "2", "r": "3"},
		MultiValueQueryStringParameters: map[string][]string{"q": {"1", "2"}, "r": {"3"}},
		PathParameters:                  map[string]string{"fault": "echo it"},
		RequestContext: events.APIGatewayProxyRequestContext{
			Stage: "Prod", ResourcePath: "/do/{fault}", Path: "/do/echo it", HTTPMethod: "PUT", Protocol: "HTTP/1.1",
			DomainName: host,
			RequestID:  a.header.Get("X-Amzn-Requestid"),
			Identity:   events.APIGatewayRequestIdentity{SourceIP: "127.0.0.1", UserAgent: "test"},
		},
		Body: "the body",
	}
	ignored := cmp.Options{
		cmpopts.IgnoreFields(events.APIGatewayProxyRequest{}, "Headers", "MultiValueHeaders"),
		cmpopts.IgnoreFields(events.APIGatewayProxyRequestContext{}, "AccountID", "APIID", "ResourceID",
			"ExtendedRequestID", "RequestTime", "RequestTimeEpoch"),
	}
	if diff := cmp.Diff(want, event, ignored); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	for name, values := range map[string][]string{
		"X-Twice": {"1", "2"}, "Host": {host}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-For": {"127.0.0.1"},
		"X-Amzn-Trace-Id": {"Root=1-2-3"},
	} {
		if got := event.MultiValueHeaders[name]; !slices.Equal(got, values) ||
			event.Headers[name] != values[len(values)-1] {
			t.Errorf("header %s: %q and %q, want %q", name, got, event.Headers[name], values)
		}
	}
	if at := time.UnixMilli(event.RequestContext.RequestTimeEpoch); time.Since(at) > time.Minute {
		t.Errorf("request time %s", at)
	}
	if a.header.Get("X-One") != "1" || !slices.Equal(a.header.Values("X-Many"), []string{"1", "2"}) {
		t.Errorf("headers of the answer: %v", a.header)
	}
}

func TestFunctionHasLambdaAndTemplateSettings(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, gateway.Options{Env: map[string]string{"LONG": "caller"}})
	e := echo(t, send(t, "GET", g.URL()+"/do/echo", "", nil))
	for _, variable := range []string{
		"LEVEL=info", "SHARED=own", "LONG=caller",
		"AWS_LAMBDA_FUNCTION_NAME=Faulty", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512",
	} {
		if !slices.Contains(e.Env, variable) {
			t.Errorf("%s is not in %q", variable, e.Env)
		}
	}
	for _, variable := range e.Env {
		if name, _, _ := strings.Cut(variable, "="); slices.Contains([]string{"TABLE", "NOTHING", "HOME"}, name) {
			t.Errorf("%s is set", variable)
		}
	}
	if e.Left <= 1 || e.Left > 2 || !strings.HasSuffix(e.ARN, ":function:Faulty") || e.Invocation == "" ||
		!strings.HasPrefix(e.Trace, "Root=1-") {
		t.Errorf("deadline in %gs, arn %s, invocation %s, trace %s", e.Left, e.ARN, e.Invocation, e.Trace)
	}
}

func TestBinaryBodyArrivesEncoded(t *testing.T) {
	t.Parallel()
	body := "\xff\x00\xfe"
	event := echo(t, send(t, "POST", startFaulty(t, gateway.Options{}).URL()+"/do/echo", body, nil)).Event
	if decoded, err := base64.StdEncoding.DecodeString(event.Body); !event.IsBase64Encoded || string(decoded) != body {
		t.Errorf("body %q, encoded = %t, %v", event.Body, event.IsBase64Encoded, err)
	}
}

func TestBinaryAnswerIsDecoded(t *testing.T) {
	t.Parallel()
	url := startFaulty(t, gateway.Options{}).URL() + "/do/answer"
	a := send(t, "POST", url,
		`{"statusCode":201,"body":"/wD+","isBase64Encoded":true,"headers":{"content-type":"image/x"}}`, nil)
	if a.status != 201 || a.body != "\xff\x00\xfe" || a.header.Get("Content-Type") != "image/x" {
		t.Errorf("%+v", a)
	}
}

func TestUnknownRouteIsA403(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, gateway.Options{})
	for _, route := range [][2]string{
		{"GET", "/"},
		{"GET", "/do"},
		{"GET", "/do/"},
		{"GET", "/do/a/b"},
		{"POST", "/files/a"},
		{"GET", "/files/"},
	} {
		a := send(t, route[0], g.URL()+route[1], "", nil)
		if a.status != http.StatusForbidden || a.body != `{"message":"Missing Authentication Token"}` ||
			a.header.Get("X-Amzn-Requestid") == "" {
			t.Errorf("%v: %+v", route, a)
		}
	}
	event := echo(t, send(t, "GET", g.URL()+"/files/a/b", "", nil)).Event
	if event.PathParameters["path"] != "a/b" || event.Resource != "/files/{path+}" {
		t.Errorf("greedy parameter: %v of %s", event.PathParameters, event.Resource)
	}
}

func TestTooLargeBodyIsA413(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, gateway.Options{})
	for _, size := range []int{11 << 20, 7 << 20} { // over API Gateway's limit, over Lambda's
		if a := send(t, "POST", g.URL()+"/do/echo", strings.Repeat("x", size),
			nil); a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%d bytes: %d %s", size, a.status, a.body)
		}
	}
}
