package eventbridge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

const busARN = "arn:aws:events:eu-central-1:123456789012:event-bus/orders"

// usualBatch is ten events of 300 bytes with three attributes.
func usualBatch() []*sink.Message {
	batch := make([]*sink.Message, sink.MaxBatch)
	for i := range batch {
		batch[i] = &sink.Message{
			Type: "order.created",
			Body: `{"customer_id":"42","lines":[` +
				strings.Repeat(`{"sku":"A-1","quantity":2,"unit_price":1999},`, 5) + `{"sku":"B-1","quantity":1}]}`,
			Attributes: []sink.Attribute{
				{Name: "event_id", DataType: sink.String, Value: "0193f7a2-7b1e-7c3a-9c55-0242ac120002"},
				{Name: "event_type", DataType: sink.String, Value: "order.created"},
				{Name: "sequence", DataType: sink.Number, Value: "4711"},
			},
		}
	}
	return batch
}

// usualAnswer accepts all of a batch.
func usualAnswer() *transport.Answer {
	var entries []string
	for i := range sink.MaxBatch {
		entries = append(entries, fmt.Sprintf(`{"EventId":"11710aed-b79e-4468-a20b-bb3c0c3b486%d"}`, i))
	}
	return &transport.Answer{
		Status: http.StatusOK,
		Body:   []byte(`{"Entries":[` + strings.Join(entries, ",") + `],"FailedEntryCount":0}`),
	}
}

func BenchmarkEncodePutEvents(b *testing.B) {
	batch, entry := usualBatch(), &sink.Entry{Source: "shop"}
	body := appendJSON(nil, busARN, entry, batch)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		body = appendJSON(body[:0], busARN, entry, batch)
	}
}

func BenchmarkReadPutEventsAnswer(b *testing.B) {
	answer := usualAnswer()
	b.ReportAllocs()
	b.SetBytes(int64(len(answer.Body)))
	for b.Loop() {
		if _, err := (answerReader{}).read(b.Context(), answer, sink.MaxBatch); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTheUsualEventCostsNoMemory: the memory of a request is reused, except where the race detector
// empties a pool. Reading its answer costs the results, and nothing for each event.
func TestTheUsualEventCostsNoMemory(t *testing.T) {
	batch, entry := usualBatch(), &sink.Entry{Source: "shop"}
	answer, body := usualAnswer(), make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(100, func() { appendJSON(body, busARN, entry, batch) }); n > 2*sink.MaxBatch {
		t.Errorf("%v allocations to write a request", n)
	}
	if n := testing.AllocsPerRun(100,
		func() { _, _ = (answerReader{}).read(t.Context(), answer, sink.MaxBatch) }); n > 5 {
		t.Errorf("%v allocations to read an answer", n)
	}
}

func FuzzReadPutEventsAnswer(f *testing.F) {
	f.Add(string(usualAnswer().Body))
	f.Add(`{"FailedEntryCount":0,"Entries":[{"EventId":"\u0030"}]} `)
	f.Add(`{"FailedEntryCount":1,"Entries":[{"ErrorCode":"InternalFailure"}]}`)
	f.Add(`{"Entries":[{"EventId":"0"`)
	f.Fuzz(func(t *testing.T, text string) {
		plain := scan([]byte(text), 1)
		if plain == nil || !utf8.ValidString(text) {
			return
		}
		var decoded struct {
			FailedEntryCount int
			Entries          []struct{ EventId, ErrorCode string }
		}
		if err := json.Unmarshal([]byte(text), &decoded); err != nil {
			t.Fatalf("%v was read, while encoding/json says %v", plain, err)
		}
		if len(decoded.Entries) != 1 || decoded.FailedEntryCount != 0 || decoded.Entries[0].ErrorCode != "" ||
			decoded.Entries[0].EventId == "" {
			t.Errorf("%v was read, while encoding/json reads %v", plain, decoded)
		}
	})
}
