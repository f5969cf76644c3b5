package inbox_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func ExampleDecode_cloudEvent() {
	event, err := inbox.Decode(inbox.Message{
		Body: `{"specversion":"1.0","id":"0198a6f0","source":"/public.outbox_events","type":"order.created",` +
			`"datacontenttype":"application/json","subject":"4711","sequence":"0000000000000000017",` +
			`"aggregatetype":"order","data":{"total": 19.99}}`,
		Attributes: map[string]string{"content-type": "application/cloudevents+json"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(event.ID, event.Type, event.AggregateType, event.AggregateID, *event.Sequence)
	fmt.Println(event.Headers["source"], string(event.Payload))
	// Output:
	// 0198a6f0 order.created order 4711 17
	// /public.outbox_events {"total": 19.99}
}

// relayed returns the message that the relay makes of a row in a format.
func relayed(t testing.TB, format string, e outbox.Envelope) inbox.Message {
	t.Helper()
	router, err := route.Parse(route.Settings{Destination: "a", Schema: "public", Table: "events", Format: format})
	if err != nil {
		t.Fatal(err)
	}
	var m sink.Message
	if routed := router.Message(&e, &m); routed.Problem != "" {
		t.Fatalf("%s: %s", format, routed.Problem)
	}
	message := inbox.Message{Body: m.Body, Attributes: map[string]string{}}
	for _, a := range m.Attributes {
		message.Attributes[a.Name] = a.Value
	}
	return message
}

// TestEveryFormatDecodesToTheSameEvent: also in the document of SNS, and for every number.
func TestEveryFormatDecodesToTheSameEvent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.Int64().Draw(rt, "seq")
		data := rapid.SampledFrom([]string{`{"total": 12.50,  "note":"<ü>\u0041"}`, `no "JSON" \`, `"text"`, `[1 ,2]`}).
			Draw(rt, "payload")
		row := outbox.Envelope{
			ID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", EventType: "order.created", AggregateType: "order",
			AggregateID: rapid.SampledFrom([]string{"4711", "ü/ %", ""}).Draw(rt, "aggregate"),
			Sequence:    strconv.FormatInt(n, 10), Payload: data, CreatedAt: "2026-11-23 20:38:55.123456+00",
			Headers: `{"tenant":"acme"}`,
		}
		want := inbox.Event{
			ID: row.ID, Type: row.EventType, AggregateType: "order", AggregateID: row.AggregateID, Sequence: &n,
			OccurredAt: time.Date(2026, 11, 23, 20, 38, 55, 123456000, time.UTC), Payload: []byte(data),
		}
		for _, format := range []string{"plain", "cloudevents", "cloudevents-binary"} {
			m := relayed(t, format, row)
			for shape, m := range map[string]inbox.Message{"direct": m, "envelope": enveloped(t, m)} {
				got, err := inbox.Decode(m)
				tenant := got.Headers["tenant"]
				got.Headers = nil
				if diff := cmp.Diff(want, got); err != nil || diff != "" || tenant != "acme" {
					rt.Fatalf("%s, %s: tenant %q, %v (-want +got):\n%s", format, shape, tenant, err, diff)
				}
			}
		}
	})
}

// TestACloudEventBringsItsBytes: those of a payload that no body can hold as they are.
func TestACloudEventBringsItsBytes(t *testing.T) {
	t.Parallel()
	encoded := base64.StdEncoding.EncodeToString([]byte{0, 255})
	row := outbox.Envelope{ID: "1", EventType: "t", Payload: encoded, Base64: true}
	deleted := outbox.Envelope{ID: "1", EventType: "t"}
	for _, format := range []string{"cloudevents", "cloudevents-binary"} {
		got, err := inbox.Decode(relayed(t, format, row))
		if err != nil || string(got.Payload) != "\x00\xff" || got.Headers["payload_encoding"] != "" {
			t.Errorf("%s: %+v, %v", format, got, err)
		}
		if got, err = inbox.Decode(relayed(t, format, deleted)); err != nil || len(got.Payload) != 0 {
			t.Errorf("%s without a payload: %+v, %v", format, got, err)
		}
	}
}

// TestACloudEventNeedsNoAttributes: it is complete by itself, whoever sent it.
func TestACloudEventNeedsNoAttributes(t *testing.T) {
	t.Parallel()
	got, err := inbox.Decode(inbox.Message{Body: `{"specversion":"1.0","id":"a","source":"/s","type":"t","data":null,` +
		`"sequence":"b-7","count":3,"time":"2026-11-23T20:38:55Z"}`})
	want := inbox.Event{
		ID: "a", Type: "t", OccurredAt: time.Date(2026, 11, 23, 20, 38, 55, 0, time.UTC), Payload: []byte("null"),
		Headers: map[string]string{"source": "/s", "sequence": "b-7", "count": "3"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestABadCloudEventNamesItsProblem(t *testing.T) {
	t.Parallel()
	structured := map[string]string{"content-type": "application/cloudevents+json; charset=utf-8"}
	binary := map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-type": "t"}
	encoded := map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-type": "t", "payload_encoding": "base64"}
	for want, m := range map[string]inbox.Message{
		"the body is no JSON object":  {Body: "hello", Attributes: structured},
		"no attribute specversion":    {Body: "{}", Attributes: structured},
		"no attribute id, type":       {Body: `{"specversion":"1.0"}`, Attributes: structured},
		`version "0.3", want 1.0`:     {Body: `{"specversion":"0.3"}`},
		"data_base64 of the CloudEve": {Body: `{"specversion":"1.0","id":"1","type":"t","data_base64":"!"}`},
		"attribute time is":           {Body: `{"specversion":"1.0","id":"1","type":"t","time":"noon"}`},
		"the body is empty":           {Attributes: binary},
		"the body is no base64":       {Body: "!", Attributes: encoded},
	} {
		if _, err := inbox.Decode(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestEveryFormatPassesABus, to a queue and to a function.
func TestEveryFormatPassesABus(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"plain", "cloudevents", "cloudevents-binary"} {
		m := relayed(t, format, outbox.Envelope{
			ID: "0198a6f0", EventType: "order.created", AggregateType: "order", AggregateID: "4711", Sequence: "17",
			Payload: `{"total":19.99}`, CreatedAt: "2026-11-23 20:38:55.123456+00",
		})
		want, err := inbox.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		onQueue := onBus(t, m)
		got, err := inbox.Decode(onQueue)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-direct +through a bus):\n%s", format, err, diff)
		}
		var event struct{ Detail json.RawMessage }
		if err := json.Unmarshal([]byte(onQueue.Body), &event); err != nil {
			t.Fatal(err)
		}
		got, err = inbox.DecodeDetail(event.Detail)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-direct +at a function):\n%s", format, err, diff)
		}
	}
}

// A producer may write a CloudEvent as the payload, and its media type as a header.
func TestAPlainMessageKeepsTheRelaysID(t *testing.T) {
	t.Parallel()
	const body = `{"specversion":"1.0","id":"theirs","source":"/s","type":"theirs","data":1}`
	for name, headers := range map[string]string{
		"structured": `{"content-type":"application/cloudevents+json"}`,
		"binary":     `{"ce-specversion":"1.0","ce-id":"theirs","ce-type":"theirs"}`,
	} {
		got, err := inbox.Decode(relayed(t, "plain", outbox.Envelope{
			ID: "ours", EventType: "order.created", Payload: body, Headers: headers,
		}))
		if err != nil || got.ID != "ours" || got.Type != "order.created" || string(got.Payload) != body {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestAPlainMessageKeepsItsPlaceInTheOrder: also if its producer wrote a CloudEvent of the same id
// as the payload, whose subject is another thing than the aggregate.
func TestAPlainMessageKeepsItsPlaceInTheOrder(t *testing.T) {
	t.Parallel()
	const body = `{"specversion":"1.0","id":"ours","source":"/s","type":"order.created","subject":"lines","data":1}`
	for name, headers := range map[string]string{
		"structured": `{"content-type":"application/cloudevents+json"}`,
		"binary":     `{"ce-specversion":"1.0","ce-id":"ours","ce-type":"order.created","ce-subject":"lines"}`,
	} {
		got, err := inbox.Decode(relayed(t, "plain", outbox.Envelope{
			ID: "ours", EventType: "order.created", AggregateType: "order", AggregateID: "4711", Sequence: "17",
			Payload: body, Headers: headers,
		}))
		if err != nil || got.Sequence == nil || *got.Sequence != 17 || got.AggregateType != "order" ||
			got.AggregateID != "4711" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
