package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
	"github.com/outbox-relay/outbox-relay/relay/inbox/awss3"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const bucket = "large-events"

// largeEvents is the setting of the bucket.
const largeEvents = "RELAY_LARGE_EVENTS_BUCKET=" + bucket

// largeEvent returns an event with a payload of this many bytes.
func largeEvent(t *testing.T, aggregateID string, n, bytes int) outbox.Event {
	t.Helper()
	payload := fmt.Sprintf(`{"n":%d,"text":"`, n)
	e := event(t, aggregateID, payload+strings.Repeat("x", bytes-len(payload)-2)+`"}`)
	e.MaxBytes = bytes
	return e
}

// resolve returns the event of a message, as a consumer reads it.
func (w *testEnv) resolve(r fakeaws.Receipt) inbox.Event {
	w.t.Helper()
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(w.broker.URL()), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	m := inbox.Message{Body: r.Body, Attributes: map[string]string{}}
	for _, a := range r.Attributes {
		m.Attributes[a.Name] = a.StringValue
	}
	m, err := inbox.Resolve(w.t.Context(), m, awss3.Fetch(client, bucket))
	w.must(err)
	e, err := inbox.Decode(m)
	w.must(err)
	return e
}

// objectWrites returns how often the object of an event was written.
func (w *testEnv) objectWrites(e outbox.Event) int {
	for key, writes := range w.broker.Objects(bucket) {
		if strings.HasPrefix(key, e.ID.String()+"/") {
			return writes
		}
	}
	return 0
}

// TestALargeEventIsReadFromItsObject: in every format and shape, in order with small ones, with
// headers, and again in a replay.
func TestALargeEventIsReadFromItsObject(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ queue, raw, format string }{
		"queue": {"orders.fifo", "", "plain"}, "raw": {"orders.fifo", "true", "cloudevents"},
		"envelope": {"orders", "false", "plain"}, "binary": {"orders", "true", "cloudevents-binary"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, c.queue)
			w.broker.CreateBucket(bucket)
			destination := w.queue.URL
			if c.raw != "" {
				topic, err := w.broker.CreateTopic(c.queue, nil)
				w.must(err)
				_, err = w.broker.Subscribe(topic, w.queue.ARN, map[string]string{"RawMessageDelivery": c.raw})
				w.must(err)
				destination = topic
			}
			w.checkLarge("RELAY_DESTINATION="+destination, "RELAY_FORMAT="+c.format, largeEvents)
		})
	}
}

func (w *testEnv) checkLarge(env ...string) {
	w.t.Helper()
	w.startStreaming(env...)
	large := largeEvent(w.t, "1", 2, 2<<20)
	large.Headers = map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}
	written := []outbox.Event{event(w.t, "1", `{"n":1}`), large, event(w.t, "1", `{"n":3}`)}
	for _, e := range written { // one after the other, as a standard queue keeps no order
		w.commit(e)
	}
	received := w.awaitReceived(3)
	read := map[string]inbox.Event{}
	for _, r := range received {
		e := w.resolve(r)
		read[e.ID] = e
	}
	for _, e := range written {
		got := read[e.ID.String()]
		if string(got.Payload) != string(e.Payload) || got.AggregateID != "1" ||
			got.Headers["ExtendedPayloadSize"] != "" {
			w.t.Errorf("read %d bytes of event %s, headers %v", len(got.Payload), e.ID, got.Headers)
		}
	}
	w.awaitDelivered()
	w.replay("--event-id", large.ID.String(), "--yes")
	received = w.awaitReceived(4)
	if again := w.resolve(received[3]); again.Replay == 0 || again.ID != large.ID.String() {
		w.t.Errorf("replayed: %+v", again.Headers)
	}
	if writes := w.objectWrites(large); writes != 2 || len(w.broker.Objects(bucket)) != 2 {
		w.t.Errorf("objects and how often each was written: %v, want the event twice, and that of the check",
			w.broker.Objects(bucket))
	}
}

// TestAnUnavailableBucketParksNothing: events that fit their message continue, and the large one
// arrives once the bucket does, before later ones of its aggregate.
func TestAnUnavailableBucketParksNothing(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"SlowDown", "AccessDenied", "NoSuchBucket"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			w.broker.CreateBucket(bucket)
			p := w.startStreaming(largeEvents, "RELAY_RETRY_MAX=200ms")
			w.broker.RefuseBucket(bucket, code)
			large := largeEvent(t, "1", 1, 1<<20)
			w.commit(large)
			p.awaitLog("store the body of event " + large.ID.String() + " in bucket " + bucket)
			w.commit(event(t, "1", `{"n":2}`), event(t, "2", `{"n":1}`))
			w.awaitReceived(1)
			w.broker.RefuseBucket(bucket, "")
			received := w.awaitReceived(3)
			if ids := w.resolve(received[0]).AggregateID + w.resolve(received[1]).ID; ids != "2"+large.ID.String() {
				t.Errorf("received in another order: %+v", received)
			}
			if letters := w.deadLetters(); letters != "" {
				t.Errorf("dead letters: %s", letters)
			}
		})
	}
}

// TestALargeEventOutlivesACrash: it is stored and sent again, under the same key and id.
func TestALargeEventOutlivesACrash(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.broker.CreateBucket(bucket)
	p := w.startStreaming(largeEvents)
	hanging := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.HangAfterAccept())
	large := largeEvent(t, "1", 1, 1<<20)
	w.commit(large)
	w.awaitReceived(1)
	p.kill()
	hanging.Clear()
	w.startStreaming(largeEvents)
	received := w.awaitReceived(2)
	if w.resolve(received[0]).ID != w.resolve(received[1]).ID || !received[1].Duplicate {
		t.Errorf("received %+v", received)
	}
	if writes := w.objectWrites(large); writes < 2 {
		t.Errorf("objects and how often each was written: %v", w.broker.Objects(bucket))
	}
}

// TestAnEventBeyondTheLimitIsParked: without a bucket, and above the setting with one.
func TestAnEventBeyondTheLimitIsParked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes int
		env   []string
		want  string
	}{
		"no bucket": {1<<20 + 1, nil, "the payload has 1048577 bytes, no message may have more than 1048576: " +
			"set RELAY_LARGE_EVENTS_BUCKET"},
		"bucket": {
			2<<20 + 1,
			[]string{largeEvents, "RELAY_MAX_EVENT_BYTES=2097152"},
			"the payload has 2097153 bytes, more than RELAY_MAX_EVENT_BYTES allows (2097152)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			w.broker.CreateBucket(bucket)
			w.startStreaming(c.env...)
			w.commit(largeEvent(t, "1", 1, c.bytes), event(t, "2", `{}`))
			w.awaitReceived(1)
			w.eventually("the event is parked", func() bool { return w.deadLetters() == "parked" })
			if reason := w.query(`SELECT reason FROM outbox_dead_letters`); !strings.HasPrefix(reason, c.want) {
				t.Errorf("reason %q", reason)
			}
		})
	}
}

// TestARefusedLargeEventKeepsItsBody: its dead letter outlives the object, and is redriven whole.
func TestARefusedLargeEventKeepsItsBody(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.broker.CreateBucket(bucket)
	refused := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"},
		fakeaws.FailEntries("InvalidMessageContents", "refused", true))
	w.startStreaming(largeEvents, "RELAY_RETRY_MAX=100ms")
	large := largeEvent(t, "1", 1, 2<<20)
	w.commit(large)
	w.eventually("it is parked", func() bool { return w.deadLetters() == "parked" })
	refused.Clear()
	w.redriveAll()
	if e := w.resolve(w.awaitReceived(1)[0]); string(e.Payload) != string(large.Payload) {
		t.Errorf("redriven with %d bytes", len(e.Payload))
	}
}

// TestABucketSetLaterDeliversDeadLetters of events that were too long, although their rows are
// gone.
func TestABucketSetLaterDeliversDeadLetters(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.broker.CreateBucket(bucket)
	p := w.startStreaming()
	large := largeEvent(t, "1", 1, 2<<20)
	w.commit(large)
	w.eventually("it is parked", func() bool { return w.deadLetters() == "parked" })
	p.stop()
	w.exec(`DELETE FROM outbox_events`)
	w.startStreaming(largeEvents)
	w.redriveAll()
	if e := w.resolve(w.awaitReceived(1)[0]); string(e.Payload) != string(large.Payload) {
		t.Errorf("redriven with %d bytes", len(e.Payload))
	}
}

func TestTheBucketIsCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	check := func(command, want string) {
		output, err := w.command([]string{largeEvents}, command)
		if err == nil {
			t.Errorf("relay %s succeeds", command)
		}
		w.checkSays(output, want)
	}
	const missing = "bucket large-events does not exist: create it, or change RELAY_LARGE_EVENTS_BUCKET"
	check("check", missing)
	check("run", missing)
	w.broker.CreateBucket(bucket)
	w.broker.RefuseBucket(bucket, "AccessDenied")
	check("check", "bucket large-events may not be written (AccessDenied): the role of the relay needs s3:PutObject")
}
