package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
	"github.com/outbox-relay/outbox-relay/relay/inbox/awslambda"
	"github.com/outbox-relay/outbox-relay/relay/inbox/awssdk"
	inboxmigrations "github.com/outbox-relay/outbox-relay/relay/inbox/migrations"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// onBus is the shape of an event that comes by a rule of an event bus.
const onBus = "bus"

// TestConsumerActsOnce: every event is delivered twice or more, by the queue and by a replay, in
// every shape in which the relay's messages reach a queue.
func TestConsumerActsOnce(t *testing.T) {
	t.Parallel()
	for shape, c := range map[string]struct{ queue, raw string }{
		"direct": {"orders.fifo", ""}, "raw": {"orders.fifo", "true"}, "envelope": {"orders", "false"},
		"bus": {"orders", onBus},
	} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, c.queue)
			destination := w.queue.URL
			switch c.raw {
			case "":
			case onBus:
				bus, err := w.broker.CreateBus("orders")
				w.must(err)
				w.must(w.broker.SendTo(bus, w.queue.ARN, `{"detail":{"metadata":{"tenant":["acme"]}}}`))
				destination = bus
			default:
				topic, err := w.broker.CreateTopic(c.queue, nil)
				w.must(err)
				_, err = w.broker.Subscribe(topic, w.queue.ARN, map[string]string{"RawMessageDelivery": c.raw})
				w.must(err)
				destination = topic
			}
			w.consumeTwice(destination)
		})
	}
}

// consumeTwice writes events, and receives them until the consumer has seen each event twice and
// each replayed one.
func (w *testEnv) consumeTwice(destination string) {
	const written = 20
	w.startStreaming("RELAY_DESTINATION=" + destination)
	events := map[string]outbox.Event{}
	for i := range written {
		e := event(w.t, fmt.Sprint(i%3), fmt.Sprintf(`{"n" : %d, "text":"ü <&> \u0041"}`, i))
		e.Headers = map[string]string{"tenant": "acme"}
		events[e.ID.String()] = e
		w.commit(e)
	}
	c := newConsumer(w, events)
	w.eventually("each event arrived twice", func() bool { return c.receive() && c.fewest(c.deliveries) >= 2 })
	w.awaitDelivered()
	w.replay("--since", "1h", "--yes")
	w.eventually("each event arrived replayed", func() bool { return c.receive() && c.fewest(c.replays) >= 1 })
	if n := w.query(`SELECT count(*) || ' ' || count(DISTINCT event_id) FROM shipments`); n != "20 20" {
		w.t.Errorf("shipments, and their events: %s", n)
	}
}

// orderConsumer reads the queue, and writes a shipment for each new event.
type orderConsumer struct {
	*testEnv
	client              *sqs.Client
	events              map[string]outbox.Event // as written, by id
	deliveries, replays map[string]int          // by id
}

func newConsumer(w *testEnv, events map[string]outbox.Event) *orderConsumer {
	w.t.Helper()
	w.must(w.pool.AcquireFunc(w.t.Context(), func(c *pgxpool.Conn) error {
		_, _, err := inboxmigrations.Migrate(w.t.Context(), c.Conn())
		return err
	}))
	w.exec(`CREATE TABLE shipments (event_id text)`)
	return &orderConsumer{
		testEnv: w, events: events, deliveries: map[string]int{}, replays: map[string]int{},
		client: sqs.New(sqs.Options{
			Region: "us-east-1", BaseEndpoint: aws.String(w.broker.URL()),
			Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		}),
	}
}

// receive processes the messages of the queue. It deletes a message when it arrives for the second
// time, and until then makes it visible again.
func (c *orderConsumer) receive() bool {
	received, err := c.client.ReceiveMessage(c.t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &c.queue.URL, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}, VisibilityTimeout: 30,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{"ApproximateReceiveCount"},
	})
	c.must(err)
	for _, m := range received.Messages {
		c.process(m)
		if m.Attributes["ApproximateReceiveCount"] == "1" {
			_, err = c.client.ChangeMessageVisibility(c.t.Context(), &sqs.ChangeMessageVisibilityInput{
				QueueUrl: &c.queue.URL, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0,
			})
		} else {
			_, err = c.client.DeleteMessage(c.t.Context(), &sqs.DeleteMessageInput{
				QueueUrl: &c.queue.URL, ReceiptHandle: m.ReceiptHandle,
			})
		}
		c.must(err)
	}
	return true
}

func (c *orderConsumer) process(m types.Message) {
	e, err := awssdk.Decode(m)
	c.must(err)
	c.check(m, e)
	c.deliveries[e.ID]++
	if e.Replay != 0 {
		c.replays[e.ID]++
	}
	c.must(pgx.BeginFunc(c.t.Context(), c.pool, func(tx pgx.Tx) error {
		isNew, err := inbox.Once(c.t.Context(), tx, "shipping", e)
		if err != nil || !isNew {
			return err
		}
		_, err = tx.Exec(c.t.Context(), `INSERT INTO shipments (event_id) VALUES ($1)`, e.ID)
		return err
	}))
}

// check compares an event with the written one, and with the event that Lambda would decode.
func (c *orderConsumer) check(m types.Message, e inbox.Event) {
	written := c.events[e.ID]
	wanted := inbox.Event{
		ID: written.ID.String(), Type: written.Type, AggregateType: written.AggregateType,
		AggregateID: written.AggregateID, Headers: written.Headers, Payload: written.Payload,
		Replay: e.Replay, OccurredAt: e.OccurredAt, Sequence: e.Sequence,
	}
	if m.MessageAttributes == nil && strings.Contains(*m.Body, `"detail-type"`) { // a bus keeps no white space
		var compact bytes.Buffer
		c.must(json.Compact(&compact, written.Payload))
		wanted.Payload = compact.Bytes()
	}
	if diff := cmp.Diff(wanted, e); diff != "" || e.OccurredAt.IsZero() || e.Sequence == nil {
		c.t.Errorf("decoded (-written +got):\n%s", diff)
	}
	if onLambda, err := awslambda.Decode(recordOf(c.t, m)); err != nil || !cmp.Equal(onLambda, e) {
		c.t.Errorf("Lambda decodes %+v, %v", onLambda, err)
	}
}

// recordOf returns the record with which Lambda invokes a function for a message.
func recordOf(t *testing.T, m types.Message) (record events.SQSMessage) {
	t.Helper()
	attributes := map[string]any{}
	for name, value := range m.MessageAttributes {
		attributes[name] = map[string]any{"dataType": value.DataType, "stringValue": value.StringValue}
	}
	text, err := json.Marshal(map[string]any{"body": m.Body, "messageAttributes": attributes})
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// fewest returns the lowest number of deliveries of an event.
func (c *orderConsumer) fewest(deliveries map[string]int) int {
	lowest := len(c.events) * 1000
	for id := range c.events {
		lowest = min(lowest, deliveries[id])
	}
	return lowest
}
