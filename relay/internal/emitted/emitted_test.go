package emitted_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/emitted"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

var at = emitted.Position{LSN: 0x16B3748, CommittedAt: time.Date(2026, 11, 23, 20, 38, 55, 123456000, time.UTC)}

const createdAt = "2026-11-23 20:38:55.123456+00"

func TestTheBytesOfThePayloadStay(t *testing.T) {
	t.Parallel()
	content := "\n{ \"id\" :\"a\\u0041\", \"aggregate_type\": \"order\",\"aggregate_id\":4711 ," +
		"\t\"event_type\": \"order.paid\"," +
		"\"headers\" : {\"tenant\": \"ac}me\"}, \"payload\":  { \"b\": 1.50, \"a\":[\"}\\\"\", {}], \"b\": \"ü\" } }\n"
	var got outbox.Envelope
	if problem := emitted.Read([]byte(content), at, &got); problem != "" {
		t.Fatal(problem)
	}
	want := outbox.Envelope{
		ID: "aA", AggregateType: "order", AggregateID: "4711", EventType: "order.paid",
		Payload: "{ \"b\": 1.50, \"a\":[\"}\\\"\", {}], \"b\": \"ü\" }", Headers: `{"tenant": "ac}me"}`,
		CreatedAt: createdAt, Emitted: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestAMessageWithoutAPayloadIsAnEvent(t *testing.T) {
	t.Parallel()
	for content, payload := range map[string]string{
		`{"id":"a","event_type":"t","aggregate_id":null,"headers":null}`: "",
		`{"id":"a","event_type":"t","payload":null}`:                     "null",
		`{"id":"a","event_type":"t","payload":7}`:                        "7",
		`{"payload":"text","id":"a","event_type":"t"}`:                   `"text"`,
	} {
		var got outbox.Envelope
		problem := emitted.Read([]byte(content), at, &got)
		want := outbox.Envelope{ID: "a", EventType: "t", Payload: payload, CreatedAt: createdAt, Emitted: true}
		if diff := cmp.Diff(want, got); diff != "" || problem != "" {
			t.Errorf("%s: %s (-want +got):\n%s", content, problem, diff)
		}
	}
}

// TestAMalformedMessageKeepsItsBytes: it belongs to its aggregate as far as that can be read.
func TestAMalformedMessageKeepsItsBytes(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]struct{ problem, id, aggregate string }{
		"":                              {"not JSON", "lsn:0/16B3748", ""},
		"\xff\x00":                      {"not UTF-8", "lsn:0/16B3748", ""},
		`{"id":"a"`:                     {"not JSON", "lsn:0/16B3748", ""},
		`[]`:                            {"no JSON object", "lsn:0/16B3748", ""},
		`"a"`:                           {"no JSON object", "lsn:0/16B3748", ""},
		`{}`:                            {`"id" is missing`, "lsn:0/16B3748", ""},
		`{"id":"a","aggregate_id":"1"}`: {`"event_type" is missing`, "a", "1"},
		`{"id":"","event_type":"t"}`:    {`"id" is missing or empty`, "lsn:0/16B3748", ""},
		`{"id":["a"],"aggregate_id":1,"event_type":"t"}`:        {`"id" is neither`, "lsn:0/16B3748", "1"},
		`{"id":"a","event_type":"t","aggregateId":"1"}`:         {`unknown member "aggregateId"`, "a", ""},
		`{"id":"a","event_type":"t","ID":"b"}`:                  {`unknown member "ID"`, "a", ""},
		`{"id":"a","event_type":"t","id":"b"}`:                  {`two members "id"`, "b", ""},
		`{"id":"a","event_type":"t","headers":[]}`:              {`"headers" is no object`, "a", ""},
		`{"id":"a","event_type":"t","aggregate_id":true}`:       {`"aggregate_id" is neither`, "a", ""},
		`{"id":"a","event_type":"t","payload":1,"payload":{} }`: {`two members "payload"`, "a", ""},
		`{"id":"a\u0000b","event_type":"t","aggregate_id":"1"}`: {
			`"id" has the character U+0000`, "lsn:0/16B3748", "1",
		},
		`{"id":"a","event_type":"t","aggregate_id":"1\u0000"}`: {
			`"aggregate_id" has the character U+0000`, "a", "1\ufffd",
		},
	} {
		var got outbox.Envelope
		problem := emitted.Read([]byte(content), at, &got)
		if !strings.Contains(problem, want.problem) || problem == "" || got.Payload != content || got.ID != want.id ||
			got.AggregateID != want.aggregate || got.Headers != "" || !got.Emitted || !got.Malformed {
			t.Errorf("%s: problem %q, event %+v", content, problem, got)
		}
	}
}

func TestATooLargePayloadIsKeptUpToALimit(t *testing.T) {
	t.Parallel()
	for size, kept := range map[int]bool{outbox.MaxPayload + 1: true, emitted.MaxKept: false} {
		content := `{"id":"a","event_type":"t","payload":"` + strings.Repeat("x", size) + `"}`
		var got outbox.Envelope
		problem := emitted.Read([]byte(content), at, &got)
		if !strings.Contains(problem, "no message may have more than 1048576") || (got.Payload == content) != kept ||
			strings.Contains(problem, "are not kept") == kept {
			t.Errorf("%d bytes: %s, %d kept", size, problem, len(got.Payload))
		}
	}
}

// TestTheStartOfALongMessageNamesItsAggregate, as far as its members are complete.
func TestTheStartOfALongMessageNamesItsAggregate(t *testing.T) {
	t.Parallel()
	for start, want := range map[string]outbox.Envelope{
		`{"id":"a","aggregate_type":"order","aggregate_id":7,"event_type":"t","payload":"xxx`: {
			ID: "a", AggregateType: "order", AggregateID: "7", EventType: "t",
		},
		`{"id":"a","payload":{"x":[1,2`: {ID: "a"},
		`{"payload":"xxx`:               {ID: "lsn:" + at.LSN.String()},
		`{"id":"a\u0000","aggregate_i`:  {ID: "lsn:" + at.LSN.String()},
		"{\"id\":\"a\xff\",\"x":         {ID: "lsn:" + at.LSN.String()},
		`[1,2`:                          {ID: "lsn:" + at.LSN.String()},
		`{"id":"a"}`:                    {ID: "a"},
		``:                              {ID: "lsn:" + at.LSN.String()},
	} {
		var got outbox.Envelope
		problem := emitted.ReadStart([]byte(start), 400<<20, at, &got)
		if !strings.Contains(problem, "419430400 bytes") || !got.Malformed || !got.Emitted || got.Payload != "" ||
			got.ID != want.ID || got.AggregateType != want.AggregateType || got.AggregateID != want.AggregateID ||
			got.EventType != want.EventType {
			t.Errorf("%q: problem %q, event %+v", start, problem, got)
		}
	}
}

// TestEveryObjectReadsAsEncodingJSONReadsIt compares the members with those of another decoder.
func TestEveryObjectReadsAsEncodingJSONReadsIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.StringMatching(`[a-zé"\\{}\[\],: \n]{1,8}`)
		object := map[string]any{
			"id": texts.Draw(t, "id"), "event_type": texts.Draw(t, "type"), "aggregate_id": texts.Draw(t, "aggregate"),
			"payload": rapid.MapOf(texts, rapid.SliceOf(texts)).Draw(t, "payload"),
			"headers": rapid.MapOf(texts, texts).Draw(t, "headers"),
		}
		content, err := json.MarshalIndent(object, rapid.StringMatching(`[ \t]{0,2}`).Draw(t, "prefix"), " ")
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			ID          string          `json:"id"`
			EventType   string          `json:"event_type"`
			AggregateID string          `json:"aggregate_id"`
			Payload     json.RawMessage `json:"payload"`
			Headers     json.RawMessage `json:"headers"`
		}
		if err := json.Unmarshal(content, &want); err != nil {
			t.Fatal(err)
		}
		var got outbox.Envelope
		if problem := emitted.Read(content, at, &got); problem != "" {
			t.Fatal(problem)
		}
		if got.ID != want.ID || got.EventType != want.EventType || got.AggregateID != want.AggregateID ||
			got.Payload != string(want.Payload) || got.Headers != string(want.Headers) {
			t.Fatalf("%s: event %+v", content, got)
		}
	})
}

// FuzzRead checks that no bytes make Read panic, and that none are lost.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "{", `{"id":"a","event_type":"t","payload":{"a":"\\"}}`, `{"a":1}`, "[[", "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var e outbox.Envelope
		problem := emitted.Read(content, at, &e)
		if problem != "" && e.Payload != string(content) || e.ID == "" || problem == "" && !json.Valid(content) {
			t.Fatalf("%q: problem %q, event %+v", content, problem, e)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	content := []byte(`{"id":"0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11","aggregate_type":"order","aggregate_id":"o-1",` +
		`"event_type":"order.created","headers":{"tenant":"acme"},"payload":{"text":"` + strings.Repeat("x", 280) +
		`"}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		var e outbox.Envelope
		if problem := emitted.Read(content, at, &e); problem != "" {
			b.Fatal(problem)
		}
	}
}
