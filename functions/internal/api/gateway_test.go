package api_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/outbox-relay/outbox-relay/functions/internal/api"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// gateway holds the responses of API Gateway itself, from the template.
type gateway struct {
	Models    map[string]yaml.Node `yaml:"Models"`
	Responses map[string]refusal   `yaml:"GatewayResponses"`
}

type refusal struct {
	StatusCode         int `yaml:"StatusCode"`
	ResponseParameters struct {
		Headers map[string]string `yaml:"Headers"`
	} `yaml:"ResponseParameters"`
	ResponseTemplates map[string]string `yaml:"ResponseTemplates"`
}

// schema is the part of JSON Schema that the model uses. A definition of Swagger 2.0 restricts it:
// no $schema, and an array needs items. https://swagger.io/specification/v2/#schema-object
type schema struct {
	Type       string            `yaml:"type"`
	Items      *schema           `yaml:"items"`
	Required   []string          `yaml:"required"`
	Properties map[string]schema `yaml:"properties"`
}

func readGateway(t *testing.T) gateway {
	t.Helper()
	text, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources struct {
			OrdersApi struct {
				Properties gateway `yaml:"Properties"`
			} `yaml:"OrdersApi"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	return template.Resources.OrdersApi.Properties
}

// model returns the model of an order's body. A keyword of JSON Schema that this test does not know
// is an error.
func (g gateway) model(t *testing.T) schema {
	t.Helper()
	node := g.Models["OrderDraft"]
	text, err := yaml.Marshal(&node)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	var model schema
	if err := decoder.Decode(&model); err != nil {
		t.Fatal(err)
	}
	if model.Type != "object" || len(model.Required) == 0 || len(model.Properties) == 0 {
		t.Fatalf("the model is %+v", model)
	}
	return model
}

// problem returns the client's view. API Gateway's own message is a JSON string.
func (r refusal) problem(t *testing.T) problem {
	t.Helper()
	text := strings.NewReplacer("$context.requestId", "request-1", "$context.error.messageString", `"Forbidden"`).
		Replace(r.ResponseTemplates["application/json"])
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	var p problem
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func TestGatewayAnswersInTheFormOfTheFunctions(t *testing.T) {
	t.Parallel()
	responses := readGateway(t).Responses
	for _, needed := range []string{
		"BAD_REQUEST_BODY", "BAD_REQUEST_PARAMETERS", "THROTTLED", "INTEGRATION_TIMEOUT",
		"DEFAULT_4XX", "DEFAULT_5XX",
	} {
		if _, ok := responses[needed]; !ok {
			t.Errorf("%s has API Gateway's own form", needed)
		}
	}
	for name, r := range responses {
		p := r.problem(t)
		if strings.HasPrefix(name, "DEFAULT_") {
			r.StatusCode, p.Status = http.StatusForbidden, http.StatusForbidden // whichever response it stands for
		}
		if p.Status != r.StatusCode || p.Title != http.StatusText(r.StatusCode) || p.Detail == "" ||
			p.RequestID != "request-1" || len(p.Errors) > 0 {
			t.Errorf("%s: %d is answered with %+v", name, r.StatusCode, p)
		}
		if got := r.ResponseParameters.Headers["Content-Type"]; got != "'application/problem+json'" {
			t.Errorf("%s: Content-Type is %s", name, got)
		}
	}
	if responses["THROTTLED"].ResponseParameters.Headers["Retry-After"] == "" {
		t.Error("a throttled client does not hear when to try again")
	}
}

func TestGatewayAndFunctionsSayTheSameInTheSameWords(t *testing.T) {
	t.Parallel()
	nobodyListens, noTables := newService(t, nowhere), newService(t, pgtest.NewDatabase(t))
	otherType := post(goodBody)
	otherType.Headers["content-type"] = "text/plain"
	for name, response := range map[string]api.Response{
		"REQUEST_TOO_LARGE":      call(t, nobodyListens.create, post(strings.Repeat(" ", 1<<20)), usual),
		"UNSUPPORTED_MEDIA_TYPE": call(t, nobodyListens.create, otherType, usual),
		"DEFAULT_5XX":            call(t, noTables.create, post(goodBody), usual),
	} {
		gateways, functions := readGateway(t).Responses[name].problem(t), mustBeProblem(t, response,
			response.StatusCode)
		if !strings.HasPrefix(name, "DEFAULT_") && gateways.Status != functions.Status ||
			gateways.Detail != functions.Detail {
			t.Errorf("%s: %d %q, the function says %d %q", name, gateways.Status, gateways.Detail, functions.Status,
				functions.Detail)
		}
	}
}

// A body that the model refuses never reaches the function, so the function must refuse it too.
func TestGatewayRefusesOnlyWhatTheFunctionRefuses(t *testing.T) {
	t.Parallel()
	service, gateway := newService(t, nowhere), readGateway(t)
	model, answer := gateway.model(t), gateway.Responses["BAD_REQUEST_BODY"].problem(t)
	var good map[string]any
	if err := json.Unmarshal([]byte(goodBody), &good); err != nil {
		t.Fatal(err)
	}
	refused := map[string]any{"no object": []any{}}
	for _, name := range model.Required {
		without := maps.Clone(good)
		delete(without, name)
		refused["without "+name] = without
	}
	for name, property := range model.Properties {
		if !slices.Contains([]string{"string", "array"}, property.Type) ||
			len(property.Properties)+len(property.Required) > 0 {
			t.Fatalf("this test does not know what %s refuses", name)
		}
		other := maps.Clone(good)
		other[name] = 1
		refused[name+" of another type"] = other
		if property.Type == "array" {
			if property.Items == nil || property.Items.Type != "object" {
				t.Fatalf("this test does not know what %s may hold", name)
			}
			element := maps.Clone(good)
			element[name] = []any{1}
			refused[name+" of other elements"] = element
		}
		if _, isText := good[name].(string); isText != (property.Type == "string") {
			t.Errorf("the model refuses %s of a good order", name)
		}
	}
	for name, body := range refused {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if r := call(t, service.create, post(string(text)), usual); r.StatusCode != answer.Status {
			t.Errorf("%s: the function answers %d", name, r.StatusCode)
		}
	}
	for field := range model.Properties {
		if !strings.Contains(answer.Detail, field) {
			t.Errorf("a wrong %s is refused without being named: %s", field, answer.Detail)
		}
	}
}
