package sqs

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// requestID is the id of every request in these tests.
var requestID = sink.RequestID([]byte("0123456789abcdef"))

// usualBatch is ten events of 300 bytes with three attributes.
func usualBatch() []*sink.Message {
	batch := make([]*sink.Message, sink.MaxBatch)
	for i := range batch {
		batch[i] = &sink.Message{
			Body: `{"customer_id":"42","lines":[` + strings.Repeat(
				`{"sku":"A-1","quantity":2,"unit_price":1999},`,
				5,
			) + `{"sku":"B-1","quantity":1}]}`,
			GroupID: fmt.Sprint("order.", i), DeduplicationID: fmt.Sprint("0193f7a2-7b1e-7c3a-9c55-0242ac12000", i),
			Attributes: []sink.Attribute{
				{Name: "event_id", DataType: sink.String, Value: "0193f7a2-7b1e-7c3a-9c55-0242ac120002"},
				{Name: "event_type", DataType: sink.String, Value: "order.created"},
				{Name: "sequence", DataType: sink.Number, Value: "4711"},
			},
		}
	}
	return batch
}

func BenchmarkEncodeSendMessageBatch(b *testing.B) {
	batch := usualBatch()
	body := appendJSON(nil, requestID, "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo", true, batch)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		body = appendJSON(body[:0], requestID,
			"https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo", true, batch)
	}
}

// usualAnswer accepts all of batch.
func usualAnswer(batch []*sink.Message) *transport.Answer {
	var entries []string
	for i, m := range batch {
		entries = append(
			entries,
			fmt.Sprintf(`{"Id":"%s","MessageId":"0193f7a2-7b1e-7c3a-9c55-0242ac120002","MD5OfMessageBody":"%x",`+
				`"MD5OfMessageAttributes":"%[2]x","SequenceNumber":"10000000000000003000"}`, requestID.Entry(i),
				md5.Sum([]byte(m.Body))),
		)
	}
	return &transport.Answer{Status: http.StatusOK, Body: []byte(`{"Successful":[` + strings.Join(entries, ",") + `]}`)}
}

func BenchmarkReadSendMessageBatchAnswer(b *testing.B) {
	batch := usualBatch()
	answer := usualAnswer(batch)
	b.ReportAllocs()
	b.SetBytes(int64(len(answer.Body)))
	for b.Loop() {
		if _, err := (answerReader{}).read(b.Context(), answer, requestID, batch); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTheUsualRequestCostsNoMemory: the memory of a request is reused. Reading its answer costs the
// results and one checksum, and nothing for each event.
func TestTheUsualRequestCostsNoMemory(t *testing.T) {
	batch := usualBatch()
	answer, body := usualAnswer(batch), make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(100,
		func() { appendJSON(body, requestID, "https://sqs.eu-central-1.amazonaws.com/1/orders", true, batch) }); n > 0 {
		t.Errorf("%v allocations to write a request", n)
	}
	if n := testing.AllocsPerRun(100,
		func() { _, _ = (answerReader{}).read(t.Context(), answer, requestID, batch) }); n > 5 {
		t.Errorf("%v allocations to read an answer", n)
	}
}

func FuzzReadSendMessageBatchAnswer(f *testing.F) {
	f.Add(string(usualAnswer(usualBatch()).Body))
	f.Add(`{"Failed":[],"Successful":[{"Id":"0123456789abcdef-0","MD5OfMessageBody":"\u0030"}]} `)
	f.Add(`{"Successful":[{"Id":"0"`)
	f.Fuzz(func(t *testing.T, text string) {
		var plain []string
		if scan([]byte(text), func(e success) { plain = append(plain, string(e.id)) }) != nil {
			return
		}
		var decoded struct{ Successful []struct{ Id string } }
		if err := json.Unmarshal([]byte(text), &decoded); err != nil && utf8.ValidString(text) {
			t.Errorf("%q was read, while encoding/json says %v", plain, err)
		}
		for _, e := range decoded.Successful {
			if !slices.Contains(plain, e.Id) {
				t.Errorf("%q was read, while encoding/json reads %v", plain, decoded)
			}
		}
	})
}
