package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
)

func TestRefusalNamesEveryWrongFieldAtOnce(t *testing.T) {
	t.Parallel()
	service := newService(t, nowhere)
	const good = `{"sku":"a","quantity":1,"unit_price":1}`
	for name, test := range map[string]struct {
		body  string
		wrong []string
	}{
		"empty object":  {`{}`, []string{"/customer_id", "/currency", "/lines"}},
		"not an object": {`[]`, []string{""}},
		"null":          {`null`, []string{""}},
		"unknown": {
			`{"customer_id":"c","currency":"EUR","lines":[` + good + `],"Currency":"EUR","a/b~":1}`,
			[]string{"/Currency", "/a~1b~0"},
		},
		"twice": {
			`{"customer_id":"c","currency":"EUR","\u0063urrency":"EUR","lines":[` + good + `]}`,
			[]string{"/currency"},
		},
		"twice in a line": {
			`{"customer_id":"c","currency":"EUR",` +
				`"lines":[{"sku":"a","quantity":1,"unit_price":1,"sku":"b"}]}`,
			[]string{"/lines/0/sku"},
		},
		"wrong types": {
			`{"customer_id":1,"currency":null,"lines":[{"sku":[],"quantity":"1","unit_price":true},7]}`,
			[]string{
				"/customer_id", "/currency", "/lines/0/sku", "/lines/0/quantity", "/lines/0/unit_price",
				"/lines/1",
			},
		},
		"lines of another type": {
			`{"customer_id":"c","currency":"EUR","lines":{"0":` + good + `}}`,
			[]string{"/lines"},
		},
		"no lines": {`{"customer_id":"c","currency":"EUR","lines":[]}`, []string{"/lines"}},
		"numbers": {
			`{"customer_id":"c","currency":"EUR","lines":[{"sku":"a","quantity":1.0,"unit_price":1e2},` +
				`{"sku":"a","quantity":-1,"unit_price":-1},{"sku":"a","quantity":0,"unit_price":9223372036854775808}]}`,
			[]string{
				"/lines/0/quantity", "/lines/0/unit_price", "/lines/1/quantity", "/lines/1/unit_price",
				"/lines/2/unit_price", "/lines/2/quantity",
			},
		},
		"missing in a line": {
			`{"customer_id":"","currency":"eur","lines":[{}]}`,
			[]string{"/lines/0/sku", "/lines/0/quantity", "/lines/0/unit_price", "/customer_id", "/currency"},
		},
		"broken text": {
			`{"customer_id":"\ud800","currency":"EUR","lines":[` + good + `]}`,
			[]string{"/customer_id"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mustBeProblem(t, call(t, service.create, post(test.body), usual), http.StatusBadRequest)
			got := p.fields()
			slices.Sort(got)
			slices.Sort(test.wrong)
			if diff := cmp.Diff(test.wrong, got); diff != "" {
				t.Errorf("fields named (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHeaderAndFieldsAreRefusedTogether(t *testing.T) {
	t.Parallel()
	request := post(`{"customer_id":"c","lines":[]}`)
	request.Headers["idempotency-key"] = "a b"
	p := mustBeProblem(t, call(t, newService(t, nowhere).create, request, usual), http.StatusBadRequest)
	if diff := cmp.Diff([]string{"Idempotency-Key", "/currency", "/lines"}, p.fields()); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
}

func TestBodyThatIsNotJSONIsRefused(t *testing.T) {
	t.Parallel()
	service := newService(t, nowhere)
	for name, body := range map[string]string{
		"empty":         "",
		"cut off":       goodBody[:len(goodBody)-1],
		"trailing data": goodBody + `{}`,
		"comment":       "/* */" + goodBody,
		"not UTF-8":     strings.Replace(goodBody, "coffee", "caf\xe9", 1),
		"too deep":      strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mustBeProblem(t, call(t, service.create, post(body), usual), http.StatusBadRequest)
			if !strings.Contains(p.Detail, "not JSON") {
				t.Errorf("detail %q", p.Detail)
			}
		})
	}
}

func TestContentTypeMustBeJSON(t *testing.T) {
	t.Parallel()
	service := newService(t, nowhere)
	// An accepted content type leads to the error of the empty body.
	for contentType, status := range map[string]int{
		"application/json":                http.StatusBadRequest,
		"Application/JSON; charset=UTF-8": http.StatusBadRequest,
		"application/json; charset=utf16": http.StatusUnsupportedMediaType,
		"application/problem+json":        http.StatusUnsupportedMediaType,
		"text/plain":                      http.StatusUnsupportedMediaType,
		"json":                            http.StatusUnsupportedMediaType,
		"":                                http.StatusUnsupportedMediaType,
	} {
		t.Run(contentType, func(t *testing.T) {
			t.Parallel()
			request := post("")
			request.Headers["content-type"] = contentType
			mustBeProblem(t, call(t, service.create, request, usual), status)
		})
	}
	t.Run("missing", func(t *testing.T) {
		t.Parallel()
		request := post(goodBody)
		request.Headers = nil
		mustBeProblem(t, call(t, service.create, request, usual), http.StatusUnsupportedMediaType)
	})
}

func TestBodyThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	service := newService(t, nowhere)
	const limit = 256 << 10
	for name, test := range map[string]struct {
		size   int
		status int
	}{"as large as may be": {limit, http.StatusBadRequest}, "one more": {limit + 1, http.StatusRequestEntityTooLarge}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := `{}` + strings.Repeat(" ", test.size-2)
			mustBeProblem(t, call(t, service.create, post(body), usual), test.status)
			mustBeProblem(t, call(t, service.create, encoded(body), usual), test.status)
		})
	}
}

func encoded(body string) events.APIGatewayProxyRequest {
	request := post(base64.StdEncoding.EncodeToString([]byte(body)))
	request.IsBase64Encoded = true
	return request
}

func TestBodyThatIsNotTheBase64ItIsSaidToBeIsRefused(t *testing.T) {
	t.Parallel()
	request := post(goodBody)
	request.IsBase64Encoded = true
	mustBeProblem(t, call(t, newService(t, nowhere).create, request, usual), http.StatusBadRequest)
}

func TestNonsenseIsNotAnsweredAtLength(t *testing.T) {
	t.Parallel()
	var body strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&body, `,"%d":0`, i)
	}
	response := call(t, newService(t, nowhere).create, post("{"+body.String()[1:]+"}"), usual)
	if mustBeProblem(t, response, http.StatusBadRequest); len(response.Body) > 200<<10 {
		t.Errorf("the answer has %d bytes", len(response.Body))
	}
}

func TestIdOfAnOrderMustBeAUUID(t *testing.T) {
	t.Parallel()
	service := newService(t, nowhere)
	for _, id := range []string{
		"", "1", "01937b4e7d4a7c3e9f570a8a3c1d2e4f", "{01937b4e-7d4a-7c3e-9f57-0a8a3c1d2e4f}",
		"01937b4e-7d4a-7c3e-9f57-0a8a3c1d2e4g",
	} {
		mustBeProblem(t, call(t, service.get, get(id), usual), http.StatusBadRequest)
	}
}
