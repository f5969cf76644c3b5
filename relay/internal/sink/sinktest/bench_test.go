package sinktest_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// BenchmarkPublish measures requests of ten events of 300 bytes with three attributes over
// loopback. b.N counts events. The server answers from memory and allocates nothing: the time is
// that of both sides, the memory is the client's.
func BenchmarkPublish(b *testing.B) {
	for service, destination := range map[sink.Service]string{
		sink.SNS: "arn:aws:sns:eu-central-1:123456789012:orders",
		sink.SQS: "https://sqs.eu-central-1.amazonaws.com/123456789012/orders",

		sink.EventBridge: "arn:aws:events:eu-central-1:123456789012:event-bus/orders",
	} {
		for _, client := range clients {
			b.Run(fmt.Sprintf("service=%s/client=%s", service, client), func(b *testing.B) {
				batch := benchBatch()
				dest, err := sink.ParseDestination(destination)
				if err != nil {
					b.Fatal(err)
				}
				answer := withEntries(success(service, batch).body, sink.NewRequestID().Entry(0))
				server := startMemoryServer(b, strings.ReplaceAll(answer, eventID, noEventID))
				s, err := openWith(b.Context(), config(server), dest, sink.Options{Client: client})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += len(batch) {
					results, err := s.Publish(b.Context(), batch)
					if err != nil || results[0].Err != nil {
						b.Fatal(err, results)
					}
				}
			})
		}
	}
}

// benchBatch returns ten events as the relay sends them.
func benchBatch() []*sink.Message {
	batch := batchOf(sink.MaxBatch)
	for _, m := range batch {
		m.Body = `{"order_id":"0193f7a2-7b1e-7c3a-9c55-0242ac120002","customer_id":"42","currency":"EUR","lines":[` +
			strings.Repeat(`{"sku":"A-1","quantity":2,"unit_price":1999},`, 4) + `{"sku":"B-1","quantity":1}]}`
		m.Attributes = []sink.Attribute{
			{Name: "event_id", DataType: sink.String, Value: "0193f7a2-7b1e-7c3a-9c55-0242ac120002"},
			{Name: "event_type", DataType: sink.String, Value: "order.created"},
			{Name: "sequence", DataType: sink.Number, Value: "4711"},
		}
	}
	return batch
}

// startMemoryServer returns the URL of a server that answers each publishing request with answer.
func startMemoryServer(b *testing.B, answer string) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go serveFromMemory(connection, answer)
		}
	}()
	return "http://" + listener.Addr().String()
}

const (
	topicAttributes = `<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes/>` +
		`</GetTopicAttributesResult></GetTopicAttributesResponse>`
	queueAttributes = `{"Attributes":{"MaximumMessageSize":"1048576"}}`
)

// serveFromMemory answers requests until the client closes the connection.
func serveFromMemory(connection net.Conn, published string) {
	defer connection.Close()
	taken, topic, queue := answerText(published), answerText(topicAttributes), answerText(queueAttributes)
	entries, events := entriesOf(taken), eventsOf(taken)
	reader := bufio.NewReaderSize(connection, 64<<10)
	for {
		length, ofQueue, err := readHead(reader)
		if err != nil {
			return
		}
		body, err := reader.Peek(length)
		if err != nil {
			return
		}
		answer := taken
		switch {
		case ofQueue:
			answer = queue
		case bytes.HasPrefix(body, []byte("Action=GetTopicAttributes")):
			answer = topic
		default:
			entries.name(body)
			events.number()
		}
		_, _ = reader.Discard(length) // was peeked
		if _, err := connection.Write(answer); err != nil {
			return
		}
	}
}

// entries are the positions of the request's Ids in an answer.
type entries [][]byte

func entriesOf(answer []byte) (e entries) {
	for _, at := range entryIDs.FindAllIndex(answer, -1) {
		e = append(e, answer[at[0]:at[1]-len("-0")])
	}
	return e
}

// name writes the id of the request with this body.
func (e entries) name(body []byte) {
	for _, before := range []string{`{"Id":"`, ".member.1.Id="} {
		if _, id, found := bytes.Cut(body, []byte(before)); found {
			for _, place := range e {
				copy(place, id)
			}
		}
	}
}

// noEventID is as long as the id of an event.
const noEventID = "00000000-0000-0000-0000-000000000000"

// events are the positions of the ids of events in an answer.
type events [][]byte

func eventsOf(answer []byte) (e events) {
	for at := 0; ; {
		n := bytes.Index(answer[at:], []byte(noEventID))
		if n < 0 {
			return e
		}
		e = append(e, answer[at+n:at+n+len(noEventID)])
		at += n + len(noEventID)
	}
}

// answers counts the answers of all connections.
var answers atomic.Uint64

// number gives the events ids that no other answer has.
func (e events) number() {
	if len(e) == 0 {
		return
	}
	var id [8]byte
	hex.Encode(e[0][:8], binary.BigEndian.AppendUint64(id[:0], answers.Add(1))[4:])
}

func answerText(body string) []byte {
	return fmt.Appendf(nil,
		"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 20:00:00 GMT\r\nX-Amzn-Requestid: 1\r\nContent-Length: %d\r\n\r\n%s",
		len(body), body)
}

// readHead reads the headers of a request. ofQueue means that it reads a queue's attributes.
func readHead(reader *bufio.Reader) (length int, ofQueue bool, err error) {
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil || len(line) <= 2 {
			return length, ofQueue, err
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil {
				return 0, false, err
			}
		}
		ofQueue = ofQueue || bytes.HasPrefix(line, []byte("X-Amz-Target: AmazonSQS.GetQueueAttributes"))
	}
}
