package route_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// headersOf returns the attributes that come from headers, as name=value, and the number of dropped
// headers.
func headersOf(t *testing.T, r *route.Router, e outbox.Envelope) (headers []string, dropped int) {
	t.Helper()
	own := e
	own.Headers = ""
	before, _ := r.AppendAttributes(nil, &own)
	attributes, dropped := r.AppendAttributes(nil, &e)
	if diff := cmp.Diff(before, attributes[:len(before)]); diff != "" {
		t.Errorf("headers %s change the relay's own attributes (-want +got):\n%s", e.Headers, diff)
	}
	for _, a := range attributes[len(before):] {
		if a.DataType != sink.String {
			t.Errorf("header %s has data type %s", a.Name, a.DataType)
		}
		headers = append(headers, a.Name+"="+a.Value)
	}
	return headers, dropped
}

func TestHeadersBecomeAttributesByTheDocumentedRule(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		setting, headers string
		want             []string
		dropped          int
	}{
		"none":                        {"", `{}`, nil, 0},
		"none, with a space":          {"", `{ }`, nil, 0},
		"NULL":                        {"", ``, nil, 0},
		"null":                        {"", `null`, nil, 0},
		"in the order of their names": {"", `{"c": "3", "a": "1", "b": "2"}`, []string{"a=1", "b=2", "c=3"}, 0},
		"trace first": {
			"", `{"a": "1", "traceparent": "` + trace + `"}`,
			[]string{"traceparent=" + trace, "a=1"},
			0,
		},
		"at most ten in all": {
			"", `{"e":"5","d":"4","c":"3","b":"2","a":"1"}`,
			[]string{"a=1", "b=2", "c=3", "d=4"},
			1,
		},
		"listed ones first": {
			"e,d,*", `{"a":"1","b":"2","c":"3","d":"4","e":"5"}`,
			[]string{"e=5", "d=4", "a=1", "b=2"},
			1,
		},
		"listed ones only":            {"d, b", `{"a":"1","b":"2","c":"3","d":"4"}`, []string{"d=4", "b=2"}, 0},
		"kept off but for the trace":  {"none", `{"a":"1","traceparent":"t"}`, []string{"traceparent=t"}, 0},
		"the same as without setting": {"*", `{"b":"2","a":"1"}`, []string{"a=1", "b=2"}, 0},
		"no value":                    {"", `{"a": "", "b": null, "traceparent": ""}`, nil, 0},
		"values that are no strings": {
			"", `{"a":1.50,"b":true,"c":{"x": [1, "y"]},"d":"s"}`,
			[]string{"a=1.50", "b=true", `c={"x": [1, "y"]}`, "d=s"},
			0,
		},
		"escapes":                  {"", `{"\u0061":"q\"\\\n\u00e9é"}`, []string{"a=q\"\\\néé"}, 0},
		"the last of equal names":  {"", `{"a":"1","a":"2"}`, []string{"a=2"}, 0},
		"names of the relay's own": {"", `{"event_id":"x","sequence":"1","a":"1"}`, []string{"a=1"}, 2},
		"names that AWS refuses": {
			"", `{"AWS.x":"1","a..b":"1",".a":"1","é":"1","a b":"1","":"1","a":"1"}`,
			[]string{"a=1"},
			6,
		},
		"values that AWS refuses": {
			"", `{"a":"\u0001","b":"\uffff","traceparent":"\u0000","c":"1"}`,
			[]string{"c=1"},
			3,
		},
		"more than fit into fixed space": {
			"i", `{"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","i":"9"}`,
			[]string{"i=9"},
			0,
		},
		"an array":         {"", `["a"]`, nil, 1},
		"a string":         {"", `"a"`, nil, 1},
		"no JSON":          {"", `{"a":"1"`, nil, 1},
		"JSON and more":    {"", `{"a":"1"} x`, nil, 1},
		"a comma too many": {"", `{"a":"1",}`, nil, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t, route.Settings{Headers: test.setting})
			e := event()
			e.Headers = test.headers
			got, dropped := headersOf(t, r, e)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			if dropped != test.dropped {
				t.Errorf("%d headers dropped, want %d", dropped, test.dropped)
			}
		})
	}
}

func TestAbsentColumnsLeaveRoomForHeaders(t *testing.T) {
	t.Parallel()
	e := event()
	e.AggregateID, e.AggregateType, e.CreatedAt, e.Sequence = "", "", "", ""
	e.Headers = `{"1":"a","2":"b","3":"c","4":"d","5":"e","6":"f","7":"g","8":"h","9":"i"}`
	got, dropped := headersOf(t, newRouter(t, route.Settings{}), e)
	if len(got) != 8 || dropped != 1 {
		t.Errorf("%d headers sent and %d dropped, want 8 and 1: %v", len(got), dropped, got)
	}
}

func TestAttributesAreAppended(t *testing.T) {
	t.Parallel()
	e := event()
	e.Headers = `{"a":"1","b":"2","c":"3","d":"4"}`
	before := []sink.Attribute{{Name: "x", DataType: sink.String, Value: "y"}}
	got, dropped := newRouter(t, route.Settings{}).AppendAttributes(before, &e)
	if len(got) != 11 || got[0].Name != "x" || dropped != 0 {
		t.Errorf("%d attributes, the first named %s, %d dropped", len(got), got[0].Name, dropped)
	}
}

func TestOccurredAtIsRFC3339InUTCWithMicroseconds(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{})
	for createdAt, want := range map[string]string{
		"2026-11-23 20:38:55.123456+00": "2026-11-23T20:38:55.123456Z",
		"2026-11-23 20:38:55.1+00":      "2026-11-23T20:38:55.100000Z",
		"2026-11-23 20:38:55+00":        "2026-11-23T20:38:55.000000Z",
		"2026-11-23 20:38:55.5+05:30":   "2026-11-23T15:08:55.500000Z",
		"2026-11-23 20:38:55-08":        "2026-11-24T04:38:55.000000Z",
		"1890-01-01 00:53:28+00:53:28":  "1890-01-01T00:00:00.000000Z",
		"2026-11-23 20:38:55.123456":    "2026-11-23T20:38:55.123456Z", // timestamp without time zone
		"infinity":                      "",
		"-infinity":                     "",
		"0044-03-15 00:00:00+00 BC":     "",
		"10000-01-01 00:00:00+00":       "",
		"9999-12-31 23:30:00-01":        "",
		"":                              "",
	} {
		if got := attribute(r, outbox.Envelope{CreatedAt: createdAt}, outbox.AttributeOccurredAt); got.Value != want {
			t.Errorf("%q occurred at %q, want %q", createdAt, got.Value, want)
		}
	}
}

func TestSequenceIsANumberIfAWSCanTakeItForOne(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{})
	digits := strings.Repeat("9", 38)
	for sequence, want := range map[string]sink.DataType{
		"4711": sink.Number, "-1": sink.Number, "0": sink.Number, digits: sink.Number,
		"-": sink.String, "1.5": sink.String, "0198a6f0": sink.String, digits + "9": sink.String,
	} {
		got := attribute(r, outbox.Envelope{ID: "x", Sequence: sequence}, outbox.AttributeSequence)
		if got.Value != sequence || got.DataType != want {
			t.Errorf("sequence %q is sent as %s %q, want %s", sequence, got.DataType, got.Value, want)
		}
	}
	if got := attribute(r, outbox.Envelope{ID: "x"}, outbox.AttributeSequence); got.Name != "" {
		t.Errorf("an event without a sequence has the attribute %q", got.Name)
	}
}

// attribute returns the attribute of this name, or an empty one.
func attribute(r *route.Router, e outbox.Envelope, name string) sink.Attribute {
	attributes, _ := r.AppendAttributes(nil, &e)
	for _, a := range attributes {
		if a.Name == name {
			return a
		}
	}
	return sink.Attribute{}
}

func TestHeadersGiveWayToTheBody(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{})
	e := event()
	e.Headers = `{"a": "1", "b": "` + strings.Repeat("x", 1000) + `", "traceparent": "` + trace + `"}`
	var m sink.Message
	r.Message(&e, &m)
	whole := m.Size()
	for _, test := range []struct{ maxBytes, dropped int }{
		{whole, 0}, {whole - 1, 1}, {whole - 1007, 1}, {whole - 1008, 2}, {100, 3}, {0, 3},
	} {
		r.Message(&e, &m)
		if got := route.DropHeaders(&m, sink.Limits{MaxMessageBytes: test.maxBytes}); got != test.dropped {
			t.Errorf("%d headers dropped for %d of %d bytes, want %d", got, test.maxBytes, whole, test.dropped)
		}
		if len(m.Attributes) != 9-test.dropped || m.Attributes[5].Name != outbox.AttributeSequence {
			t.Errorf("attributes for %d bytes: %v", test.maxBytes, m.Attributes)
		}
	}
}

// TestNoHeaderHoldsAnEventUp draws arbitrary headers and checks the message against the rules of
// AWS.
func TestNoHeaderHoldsAnEventUp(t *testing.T) {
	t.Parallel()
	names := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"event_id", "traceparent", "AWS.x", "amazon.y", "a..b", ".a", "tenant", "x-amzn-trace-id", "a", "b", "c", "d",
		"e",
	}))
	values := rapid.OneOf(rapid.String().AsAny(), rapid.Int().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil))
	rapid.Check(t, func(t *rapid.T) {
		headers := rapid.MapOfN(names, values, 0, 12).Draw(t, "headers")
		text, err := json.Marshal(headers)
		if err != nil {
			t.Fatal(err)
		}
		e := event()
		e.Headers = rapid.OneOf(rapid.Just(string(text)), rapid.String()).Draw(t, "text")
		r, err := route.Parse(route.Settings{
			Destination: topic, Headers: rapid.SampledFrom([]string{"", "none", "tenant", "c,b,*"}).Draw(t, "setting"),
		})
		if err != nil {
			t.Fatal(err)
		}
		var m sink.Message
		r.Message(&e, &m)
		if refused := sink.Validate(&m, sink.Limits{FIFO: true, MaxMessageBytes: 1 << 20}); refused != nil {
			t.Fatalf("headers %s: %v", e.Headers, refused)
		}
		if first := fmt.Sprint(m.Attributes); first != again(r, e) {
			t.Fatalf("two relays send different attributes: %s and %s", first, again(r, e))
		}
	})
}

func again(r *route.Router, e outbox.Envelope) string {
	attributes, _ := r.AppendAttributes(nil, &e)
	return fmt.Sprint(attributes)
}
