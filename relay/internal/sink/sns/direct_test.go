package sns

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

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

func BenchmarkEncodePublishBatch(b *testing.B) {
	batch := usualBatch()
	body := appendForm(nil, requestID, "arn:aws:sns:eu-central-1:123456789012:orders.fifo", true, batch)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		body = appendForm(body[:0], requestID, "arn:aws:sns:eu-central-1:123456789012:orders.fifo", true, batch)
	}
}

// usualAnswer accepts all of batch.
func usualAnswer(batch []*sink.Message) *transport.Answer {
	var members strings.Builder
	for i := range batch {
		fmt.Fprintf(&members, "<member><MessageId>0193f7a2-7b1e-7c3a-9c55-0242ac120002</MessageId><Id>%s</Id>"+
			"<SequenceNumber>10000000000000003000</SequenceNumber></member>\n", requestID.Entry(i))
	}
	return &transport.Answer{Status: http.StatusOK, Body: []byte(`<?xml version="1.0"?>` + "\n" +
		`<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">` +
		"\n  <PublishBatchResult><Failed/>\n<Successful>" +
		members.String() + "</Successful></PublishBatchResult>" +
		"<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></PublishBatchResponse>\n")}
}

func BenchmarkReadPublishBatchAnswer(b *testing.B) {
	answer := usualAnswer(usualBatch())
	b.ReportAllocs()
	b.SetBytes(int64(len(answer.Body)))
	for b.Loop() {
		if _, err := readAnswer(answer, requestID, sink.MaxBatch); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTheUsualRequestCostsNoMemory: the memory of a request is reused, and only the results of its
// answer are kept.
func TestTheUsualRequestCostsNoMemory(t *testing.T) {
	batch := usualBatch()
	answer, body := usualAnswer(batch), make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(100,
		func() { appendForm(body, requestID, "arn:aws:sns:eu-central-1:123456789012:orders", true, batch) }); n > 0 {
		t.Errorf("%v allocations to write a request", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = readAnswer(answer, requestID, len(batch)) }); n > 2 {
		t.Errorf("%v allocations to read an answer", n)
	}
}

func FuzzReadPublishBatchAnswer(f *testing.F) {
	f.Add(string(usualAnswer(usualBatch()).Body))
	f.Add(
		"<PublishBatchResponse><PublishBatchResult><Successful>" +
			"<member><Id>0123456789abcdef-0</Id></member></Successful>" +
			"<Failed><member/></Failed>")
	f.Add("<a><")
	f.Fuzz(func(t *testing.T, text string) {
		plain := sink.NewAnswer(requestID, 1)
		if scan([]byte(text), func(id, _ []byte) { plain.Set(string(id), nil) }) != nil {
			return
		}
		got, gotErr := plain.Results()
		want, wantErr := decode([]byte(text), requestID, 1)
		if durable := gotErr == nil && got[0].Err == nil; durable && (wantErr != nil || want[0].Err != nil) {
			t.Errorf("durable, while encoding/xml says %v, %v", want, wantErr)
		}
	})
}

// TestNestedXMLTakesNoDeepStack: an answer of a megabyte can be nested 140,000 times.
func TestNestedXMLTakesNoDeepStack(t *testing.T) {
	t.Parallel()
	for _, n := range []int{10, maxDepth + 1, 140_000} {
		s := scanner{rest: []byte(strings.Repeat("<a>", n) + strings.Repeat("</a>", n))}
		if _, _, err := s.tag(); err != nil {
			t.Fatal(err)
		}
		err := s.skip()
		if (err == nil) != (n <= maxDepth) {
			t.Errorf("%d elements in each other: %v", n, err)
		}
	}
}
