package api_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// as adds a caller to a request in the format of API Gateway.
func as(arn string, request events.APIGatewayProxyRequest) events.APIGatewayProxyRequest {
	request.RequestContext.Identity.UserArn = arn
	return request
}

func TestOrdersAndKeysBelongToTheirCaller(t *testing.T) {
	t.Parallel()
	const (
		shop  = "arn:aws:sts::111111111111:assumed-role/shop/i-1"
		rival = "arn:aws:sts::111111111111:assumed-role/rival/i-1"
	)
	service := newService(t, newDatabase(t))
	keyed := func(arn, body string) events.APIGatewayProxyResponse {
		request := as(arn, post(body))
		request.Headers["Idempotency-Key"] = "order-1"
		return call(t, service.create, request, usual)
	}
	mine := keyed(shop, goodBody)
	var created struct{ ID string }
	if err := json.Unmarshal([]byte(mine.Body), &created); err != nil || mine.StatusCode != http.StatusCreated {
		t.Fatalf("%d: %s", mine.StatusCode, mine.Body)
	}
	theirs := keyed(rival, `{"customer_id":"b","currency":"EUR","lines":[{"sku":"tea","quantity":1,"unit_price":1}]}`)
	if theirs.StatusCode != http.StatusCreated {
		t.Errorf("the key of another caller is answered with %d: %s", theirs.StatusCode, theirs.Body)
	}
	for arn, want := range map[string]int{
		shop:  http.StatusOK,
		rival: http.StatusNotFound,
		"arn:aws:sts::111111111111:assumed-role/shop/i-2": http.StatusOK, // another session of the same role
		"arn:aws:sts::222222222222:assumed-role/shop/i-1": http.StatusNotFound,
		"arn:aws:iam::111111111111:user/shop":             http.StatusNotFound,
		"":                                                http.StatusNotFound,
	} {
		if got := call(t, service.get, as(arn, get(created.ID)), usual); got.StatusCode != want {
			t.Errorf("%q reads the order with %d: %s", arn, got.StatusCode, got.Body)
		}
	}
}

func TestAnAuthorizersPrincipalIsTheCaller(t *testing.T) {
	t.Parallel()
	service := newService(t, newDatabase(t))
	by := func(authorizer map[string]any, request events.APIGatewayProxyRequest) events.APIGatewayProxyRequest {
		request.RequestContext.Authorizer = authorizer
		return request
	}
	anna := map[string]any{"principalId": "anna"}
	made := call(t, service.create, by(anna, post(goodBody)), usual)
	var created struct{ ID string }
	if err := json.Unmarshal([]byte(made.Body), &created); err != nil || made.StatusCode != http.StatusCreated {
		t.Fatalf("%d: %s", made.StatusCode, made.Body)
	}
	for _, c := range []struct {
		authorizer map[string]any
		want       int
	}{
		{anna, http.StatusOK},
		{map[string]any{"principalId": "ben"}, http.StatusNotFound},
		{map[string]any{"claims": map[string]any{"sub": "anna"}}, http.StatusNotFound}, // a user pool's anna
		{nil, http.StatusNotFound},
	} {
		if got := call(t, service.get, by(c.authorizer, get(created.ID)), usual); got.StatusCode != c.want {
			t.Errorf("%v reads the order with %d: %s", c.authorizer, got.StatusCode, got.Body)
		}
	}
}
