package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Broker is a minimal SNS, SQS and S3 in its own process, with only the requests of the relay. It
// takes a fraction of the processor time of localstack/testing/fakeaws, because both share the
// machine with the relay. It keeps no message and no content of an object. It records which events
// arrived and when, and the size and the checksum of each object.
type Broker struct {
	// Latency is the time between a request and its answer.
	Latency time.Duration
	// Quota limits the publish requests. Nil is unlimited.
	Quota *Quota

	mu     sync.Mutex
	counts Counts
	// arrival of the first request with this sequence, in nanoseconds of the Unix epoch
	arrivals []int64
	objects  map[string]Object // by key
}

// Counts counts the requests and events of a Broker.
type Counts struct {
	Requests int   // publish requests
	Events   int   // events of these requests
	Distinct int   // different events
	Last     int64 // arrival of the last request with a new event, in nanoseconds of the Unix epoch
}

// Serve answers on listener until ctx ends.
func (b *Broker) Serve(ctx context.Context, listener net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			s := &service{broker: b, url: "http://" + listener.Addr().String(), sums: map[string]string{}}
			_ = s.converse(conn) // the relay reports an unexpected end
		}()
	}
}

// service answers the requests of one connection and reuses its memory.
type service struct {
	broker *Broker
	url    string
	sums   map[string]string // MD5 by body; a benchmark has few different bodies

	status            string // status line of the answer
	body, answer, out []byte
	sequences         []int
}

func (s *service) converse(conn net.Conn) error {
	reader := bufio.NewReaderSize(conn, 64<<10)
	for {
		r, err := s.read(reader, conn)
		if err != nil {
			return err
		}
		if err := s.respond(r); err != nil {
			return err
		}
		s.out = append(s.out[:0], "HTTP/1.1 "...)
		s.out = append(append(s.out, s.status...), "\r\nContent-Type: application/octet-stream\r\nDate: "...)
		s.out = time.Now().UTC().AppendFormat(s.out, "Mon, 02 Jan 2006 15:04:05 GMT")
		s.out = append(s.out, "\r\nContent-Length: "...)
		s.out = strconv.AppendInt(s.out, int64(len(s.answer)), 10)
		s.out = append(append(s.out, "\r\n\r\n"...), s.answer...)
		if _, err := conn.Write(s.out); err != nil {
			return err
		}
	}
}

// request has the parts of a request that select the answer.
type request struct {
	isPut   bool
	path    string
	target  string // X-Amz-Target header of the AWS JSON protocol
	chunked bool   // the body is chunks, as the SDK sends an object over TLS
}

func (s *service) read(reader *bufio.Reader, conn io.Writer) (request, error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return request{}, err
	}
	var r request
	if parts := bytes.Fields(line); len(parts) > 1 && len(parts[1]) > 1 {
		r.path, r.isPut = string(parts[1]), string(parts[0]) == "PUT"
	}
	length := 0
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return request{}, err
		}
		name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		switch {
		case !ok:
			s.body = slices.Grow(s.body[:0], length)[:length]
			_, err = io.ReadFull(reader, s.body)
			return r, err
		case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return request{}, err
			}
		case len(name) == len("X-Amz-Target") && bytes.EqualFold(name, []byte("X-Amz-Target")):
			r.target = string(bytes.TrimSpace(value))
		case len(name) == len("Expect") && bytes.EqualFold(name, []byte("Expect")):
			if _, err := io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return request{}, err
			}
		case len(name) == len(decodedLength) && bytes.EqualFold(name, []byte(decodedLength)):
			r.chunked = true
		}
	}
}

// decodedLength is the header of a body that consists of chunks.
const decodedLength = "X-Amz-Decoded-Content-Length"

func (s *service) respond(r request) error {
	s.status, s.answer = "200 OK", s.answer[:0]
	switch {
	case r.isPut:
		return s.putObject(r)
	case r.path == "/objects":
		return s.answerJSON(s.broker.Objects())
	case r.path == "/counts":
		return s.answerJSON(s.broker.Counts())
	case r.path == "/arrivals":
		return s.answerJSON(s.broker.Arrivals())
	case strings.HasPrefix(r.path, "/quota/"):
		return s.changeQuota(strings.TrimPrefix(r.path, "/quota/"))
	case r.path == "/quota":
		return s.answerJSON(s.broker.Quota.Counts())
	case r.target == "AmazonSQS.SendMessageBatch":
		if !s.isWithinQuota() {
			s.answer = append(s.answer, `{"__type":"com.amazonaws.sqs#RequestThrottled","message":"Rate exceeded"}`...)
			return nil
		}
		return s.sendMessageBatch()
	case r.target == "AmazonSQS.GetQueueUrl":
		s.answer = fmt.Appendf(s.answer, `{"QueueUrl":"%s/000000000000/%s"}`, s.url, s.named())
	case r.target == "AmazonSQS.GetQueueAttributes":
		s.answer = fmt.Appendf(s.answer,
			`{"Attributes":{"QueueArn":"arn:aws:sqs:us-east-1:000000000000:%s","MaximumMessageSize":"1048576",`+
				`"FifoQueue":"%t","DeduplicationScope":"messageGroup","FifoThroughputLimit":"perMessageGroupId"}}`,
			s.named(), s.isFIFO())
	case s.isAction("GetTopicAttributes"):
		s.answer = fmt.Appendf(s.answer, `<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes>`+
			`<entry><key>TopicArn</key><value>arn:aws:sns:us-east-1:000000000000:%s</value></entry>`+
			`<entry><key>FifoTopic</key><value>%t</value></entry>`+
			`<entry><key>FifoThroughputScope</key><value>MessageGroup</value></entry>`+
			`</Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>`, s.named(), s.isFIFO())
	case s.isAction("PublishBatch"):
		if !s.isWithinQuota() {
			s.answer = append(s.answer, `<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code>`+
				`<Message>Rate exceeded</Message></Error><RequestId>5fea7756</RequestId></ErrorResponse>`...)
			return nil
		}
		return s.publishBatch()
	default:
		return errors.New("the broker does not support this request")
	}
	return nil
}

// isWithinQuota reports whether the quota accepts a request. Otherwise it prepares a refusal, after
// the latency.
func (s *service) isWithinQuota() bool {
	if s.broker.Quota == nil || s.broker.Quota.Allow() {
		return true
	}
	time.Sleep(s.broker.Latency)
	s.status = "400 Bad Request"
	return false
}

func (s *service) changeQuota(perSecond string) error {
	rate, err := strconv.ParseFloat(perSecond, 64)
	if err != nil {
		return err
	}
	s.broker.Quota.SetRate(rate)
	return s.answerJSON(rate)
}

// isAction reports whether the request is this one of the AWS query protocol. The SDK and the relay
// begin a form with the action.
func (s *service) isAction(action string) bool {
	return bytes.HasPrefix(s.body, []byte("Action="+action))
}

// isFIFO reports whether the request names a FIFO topic or queue.
func (s *service) isFIFO() bool { return bytes.Contains(s.body, []byte(".fifo")) }

// named returns the name of the topic or queue.
func (s *service) named() string {
	if s.isFIFO() {
		return "bench.fifo"
	}
	return "bench"
}

func (s *service) answerJSON(value any) (err error) {
	s.answer, err = json.Marshal(value)
	return err
}

func (b *Broker) record(sequences []int, arrived int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.Requests++
	b.counts.Events += len(sequences)
	for _, n := range sequences {
		if n >= len(b.arrivals) {
			b.arrivals = append(b.arrivals, make([]int64, n+1<<16-len(b.arrivals))...)
		}
		if b.arrivals[n] == 0 {
			b.arrivals[n] = arrived
			b.counts.Distinct++
			b.counts.Last = max(b.counts.Last, arrived)
		}
	}
}

// Counts returns the counts so far.
func (b *Broker) Counts() Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts
}

// Arrivals returns the arrival of the first request with each event, by its sequence, in
// nanoseconds of the Unix epoch.
func (b *Broker) Arrivals() map[int]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	times := map[int]int64{}
	for n, at := range b.arrivals {
		if at != 0 {
			times[n] = at
		}
	}
	return times
}
