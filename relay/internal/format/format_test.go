package format_test

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/format"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func newCloudEvents(t *testing.T, attributes ...format.Attribute) *format.CloudEvents {
	t.Helper()
	c, err := format.New("public", "outbox_events", attributes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// usual is an event that has everything.
func usual() format.Event {
	return format.Event{
		Envelope: &outbox.Envelope{
			ID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", Sequence: "17", AggregateType: "order", AggregateID: "4711",
			EventType: "order.created", Payload: `{"total": 12.50,  "note":"\u0041"}`,
			Extra: []string{"", "urn:order:1"},
		},
		Time: "2026-11-23T20:38:55.123456Z", Group: "order/4711", TraceParent: "00-0af7-b7ad-01", TraceState: "a=1",
	}
}

func attributesOf(m format.Message) (attributes []string) {
	for _, a := range m.Attributes {
		attributes = append(attributes, a.Name+"="+a.Value)
	}
	return attributes
}

func TestEachAttributeHasItsDefault(t *testing.T) {
	t.Parallel()
	m := newCloudEvents(t).Make(format.Structured, usual())
	const want = `{"specversion":"1.0","id":"0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11","source":"/public.outbox_events",` +
		`"type":"order.created","subject":"4711","sequence":"0000000000000000017","aggregatetype":"order",` +
		`"datacontenttype":"application/json","time":"2026-11-23T20:38:55.123456Z","partitionkey":"order/4711",` +
		`"traceparent":"00-0af7-b7ad-01","tracestate":"a=1","data":{"total": 12.50,  "note":"\u0041"}}`
	if m.Body != want || m.Problem != "" {
		t.Errorf("got  %s\nwant %s\n%s", m.Body, want, m.Problem)
	}
	if got := attributesOf(m); !slices.Equal(got, []string{"content-type=application/cloudevents+json"}) {
		t.Errorf("attributes %q", got)
	}
	m = newCloudEvents(t).Make(format.Binary, usual())
	wantAttributes := []string{
		"ce-specversion=1.0", "ce-id=0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", "ce-source=/public.outbox_events",
		"ce-type=order.created", "ce-subject=4711", "ce-sequence=0000000000000000017", "ce-aggregatetype=order",
		"content-type=application/json", "ce-time=2026-11-23T20:38:55.123456Z",
	}
	if got := attributesOf(m); !slices.Equal(got, wantAttributes) || m.Body != usual().Payload {
		t.Errorf("binary: %q, body %s", got, m.Body)
	}
}

func TestAttributesComeFromTheSettings(t *testing.T) {
	t.Parallel()
	c := newCloudEvents(
		t, format.Attribute{Name: "source", Text: "https://shop.example/", Column: -1},
		format.Attribute{Name: "dataschema", Column: 1}, format.Attribute{Name: "subject", Column: 0},
		format.Attribute{Name: "sequence", Column: -1}, format.Attribute{Name: "partitionkey", Column: 1},
		format.Attribute{Name: "shop", Text: "eu", Column: -1}, format.Attribute{Name: "empty", Column: 0},
	)
	e := usual()
	e.TraceState, e.TraceParent = "", ""
	const want = `{"specversion":"1.0","id":"0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11","source":"https://shop.example/",` +
		`"type":"order.created","subject":"4711","aggregatetype":"order","datacontenttype":"application/json",` +
		`"dataschema":"urn:order:1","shop":"eu","time":"2026-11-23T20:38:55.123456Z",` +
		`"partitionkey":"urn:order:1","data":{"total": 12.50,  "note":"\u0041"}}`
	if m := c.Make(format.Structured, e); m.Body != want {
		t.Errorf("got  %s\nwant %s", m.Body, want)
	}
}

// TestABinaryMessageKeepsItsAggregate: the time and the last attributes of the settings are dropped
// before it, whatever else the message has.
func TestABinaryMessageKeepsItsAggregate(t *testing.T) {
	t.Parallel()
	e := usual()
	e.Payload, e.Base64 = "AAEC", true
	c := newCloudEvents(t, format.Attribute{Name: "dataschema", Column: 1},
		format.Attribute{Name: "partitionkey", Column: 1})
	got := attributesOf(c.Make(format.Binary, e))
	if len(got) != outbox.MaxAttributes || got[0] != "payload_encoding=base64" ||
		got[7] != "ce-aggregatetype=order" || got[9] != "ce-dataschema=urn:order:1" {
		t.Errorf("%d attributes: %q", len(got), got)
	}
}

func TestTableWithoutTypesNamesTheTable(t *testing.T) {
	t.Parallel()
	e := format.Event{Envelope: &outbox.Envelope{ID: "1", Payload: "{}"}}
	const want = `{"specversion":"1.0","id":"1","source":"/public.outbox_events","type":"public.outbox_events",` +
		`"datacontenttype":"application/json","data":{}}`
	if m := newCloudEvents(t).Make(format.Structured, e); m.Body != want {
		t.Errorf("got %s", m.Body)
	}
}

func TestSequencesSortAsTheirNumbers(t *testing.T) {
	t.Parallel()
	c := newCloudEvents(t)
	sequenceOf := func(n int64) string {
		e := usual()
		e.Sequence = strconv.FormatInt(n, 10)
		for _, a := range c.Make(format.Binary, e).Attributes {
			if a.Name == "ce-sequence" {
				return a.Value
			}
		}
		return ""
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		if got := strings.Compare(sequenceOf(a), sequenceOf(b)); got != cmp.Compare(a, b) {
			t.Errorf("%d and %d: %s and %s", a, b, sequenceOf(a), sequenceOf(b))
		}
	})
}

func TestAnEventThatCannotBeACloudEventIsAProblem(t *testing.T) {
	t.Parallel()
	tab, broken, spaced := usual(), usual(), usual()
	spaced.Extra = []string{"", "my shop"}
	tab.AggregateID = "a\tb"
	broken.Payload = "<order/>"
	json := format.Attribute{Name: "datacontenttype", Text: "application/json", Column: -1}
	for want, m := range map[string]format.Message{
		"attribute subject of the CloudEvent has a control character": newCloudEvents(t).Make(format.Binary, tab),
		"attribute source of the CloudEvent is no URI": newCloudEvents(t, format.Attribute{Name: "source", Column: 1}).
			Make(format.Structured, spaced),
		"the payload is no JSON": newCloudEvents(t, json).Make(format.Structured, broken),
	} {
		if !strings.Contains(m.Problem, want) {
			t.Errorf("problem %q, want %q", m.Problem, want)
		}
	}
	tab.AggregateID, tab.TraceState = "4711", "a\tb"
	if m := newCloudEvents(t).Make(format.Structured, tab); m.Problem != "" || strings.Contains(m.Body, "tracestate") {
		t.Errorf("a header blocks the event: %+v", m)
	}
}

func TestWrongAttributesAreAllReported(t *testing.T) {
	t.Parallel()
	_, err := format.New("public", "t", []format.Attribute{
		{Name: "id", Text: "1", Column: -1},
		{Name: "data", Column: 0},
		{Name: "dataSchema", Column: 0},
		{Name: "source", Column: -1},
		{Name: "a", Column: 0},
		{Name: "a", Column: 0},
		{Name: "b", Text: "x\n", Column: -1},
		{Name: "toolongtobeanattribute", Column: 0},
		{Name: "dataschema", Text: "an order", Column: -1},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`"id": the relay sets it`, `"data": it cannot`, `"dataSchema": it cannot`, `"source": every CloudEvent`,
		`"a": it is listed twice`, `"b": its text has a control`, `"dataschema": its text is no URI`,
		`"toolongtobeanattribute": it cannot`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestTheGoSDKReadsEveryEvent: it validates the event, and reads the values of the row.
func TestTheGoSDKReadsEveryEvent(t *testing.T) {
	t.Parallel()
	c := newCloudEvents(t)
	rapid.Check(t, func(t *rapid.T) {
		usable := func(s string) bool { return s != "" && s == strings.TrimSpace(s) } // HTTP trims values
		text := rapid.StringOf(rapid.RuneFrom([]rune(`aä"\<&>%/ {}😀`))).Filter(usable)
		e := usual()
		e.ID, e.EventType, e.AggregateID = text.Draw(t, "id"), text.Draw(t, "type"), text.Draw(t, "aggregate")
		var want string
		switch rapid.IntRange(0, 3).Draw(t, "payload") {
		case 0:
			e.Payload, want = "", ""
		case 1:
			bytes := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "bytes")
			e.Payload, e.Base64, want = base64.StdEncoding.EncodeToString(bytes), true, string(bytes)
		case 2:
			e.Payload = "no JSON: " + text.Draw(t, "text") + "\n"
			want = e.Payload
		default:
			document, _ := json.Marshal(map[string]any{"a": text.Draw(t, "value"), "n": 1.5})
			e.Payload, want = string(document), string(document)
		}
		for _, f := range []format.Format{format.Structured, format.Binary} {
			m := c.Make(f, e)
			read, err := fromRequest(m)
			if f == format.Structured {
				err = json.Unmarshal([]byte(m.Body), &read)
			} else if e.Base64 || e.Payload == "" { // an attribute tells the encoding of the body
				want = m.Body
			}
			if err != nil || read.Validate() != nil {
				t.Fatalf("%s: %v, %v: %s", f, err, read.Validate(), m.Body)
			}
			if read.ID() != e.ID || read.Type() != e.EventType || read.Subject() != e.AggregateID ||
				string(read.Data()) != want || read.Extensions()["sequence"] != "0000000000000000017" {
				t.Fatalf("%s: read %s, want data %q of %+v", f, read, want, e.Envelope)
			}
		}
	})
}

// fromRequest has the SDK read a message as it reads a request of HTTP.
func fromRequest(m format.Message) (event.Event, error) {
	header := http.Header{}
	for _, a := range m.Attributes {
		header.Set(a.Name, a.Value)
	}
	request := &http.Request{Header: header, Body: io.NopCloser(strings.NewReader(m.Body))}
	read, err := binding.ToEvent(request.Context(), cehttp.NewMessageFromHttpRequest(request))
	if read == nil {
		read = new(event.Event)
	}
	return *read, err
}

func TestSourceIsTheTableOfTheEvent(t *testing.T) {
	t.Parallel()
	events := newCloudEvents(t)
	e := &outbox.Envelope{ID: "1", Payload: "{}", Source: &outbox.Source{Schema: "tenant_a", Name: "outbox"}}
	body := events.Make(format.Structured, format.Event{Envelope: e}).Body
	for _, want := range []string{`"source":"/tenant_a.outbox"`, `"type":"tenant_a.outbox"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the event has no %s: %s", want, body)
		}
	}
}
