package fakeaws

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const (
	benchBody = `{"order_id":"0193f7a2-7b1e-7c3a-9c55-0242ac120002","customer_id":"42",` +
		`"currency":"EUR","lines":[{"sku":"A-1","quantity":2,"unit_price":1999}],"total":3998}`
	benchEntries = 10
)

var benchAttributes = map[string]string{
	"event_id":   "0193f7a2-7b1e-7c3a-9c55-0242ac120002",
	"event_type": "order.created", "aggregate_type": "order",
}

// sendBatchBody returns the body of a SendMessageBatch of ten messages, as the SDK writes it.
func sendBatchBody(b *testing.B, queueURL string) string {
	attributes := map[string]attributeValue{}
	for name, value := range benchAttributes {
		attributes[name] = attributeValue{DataType: "String", StringValue: value}
	}
	var entries []map[string]any
	for i := range benchEntries {
		entries = append(entries, map[string]any{
			"Id": fmt.Sprint(i), "MessageBody": benchBody, "MessageGroupId": fmt.Sprint("order.",
				i), "MessageAttributes": attributes,
		})
	}
	body, err := json.Marshal(map[string]any{"QueueUrl": queueURL, "Entries": entries})
	if err != nil {
		b.Fatal(err)
	}
	return string(body)
}

// publishBatchBody returns the body of a PublishBatch of ten messages, as the SDK writes it.
func publishBatchBody(topicARN string) string {
	values := url.Values{"Action": {"PublishBatch"}, "Version": {"2010-03-31"}, "TopicArn": {topicARN}}
	for i := range benchEntries {
		entry := fmt.Sprintf("PublishBatchRequestEntries.member.%d.", i+1)
		values.Set(entry+"Id", fmt.Sprint(i))
		values.Set(entry+"Message", benchBody)
		values.Set(entry+"MessageGroupId", fmt.Sprint("order.", i))
		n := 0
		for name, value := range benchAttributes {
			n++
			attribute := fmt.Sprintf("%sMessageAttributes.entry.%d.", entry, n)
			values.Set(attribute+"Name", name)
			values.Set(attribute+"Value.DataType", "String")
			values.Set(attribute+"Value.StringValue", value)
		}
	}
	return values.Encode()
}

// sinkhole is a ResponseWriter that discards everything.
type sinkhole struct {
	header http.Header
	status int
}

func (s *sinkhole) Header() http.Header         { return s.header }
func (s *sinkhole) WriteHeader(status int)      { s.status = status }
func (s *sinkhole) Write(p []byte) (int, error) { return len(p), nil }

// serveMany makes the server handle the same request b.N times, without a network.
func serveMany(b *testing.B, s *Server, target, body string) {
	b.ReportAllocs()
	for b.Loop() {
		r, err := http.NewRequest(http.MethodPost, s.URL(), strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", target)
		w := sinkhole{header: http.Header{}}
		s.serveHTTP(&w, r)
		if w.status != http.StatusOK {
			b.Fatal("status ", w.status)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchEntries), "ns/message")
}

func startBench(b *testing.B) *Server {
	s, err := Start(Options{Retain: 1000})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func BenchmarkSendMessageBatch(b *testing.B) {
	s := startBench(b)
	q, err := s.CreateQueue("orders", nil)
	if err != nil {
		b.Fatal(err)
	}
	serveMany(b, s, "AmazonSQS.SendMessageBatch", sendBatchBody(b, q.URL))
}

func BenchmarkPublishBatch(b *testing.B) {
	s := startBench(b)
	arn, err := s.CreateTopic("orders", nil)
	if err != nil {
		b.Fatal(err)
	}
	serveMany(b, s, "", publishBatchBody(arn))
}
