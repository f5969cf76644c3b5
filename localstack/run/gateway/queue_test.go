package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/run/gateway"
	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

const (
	patience = 60 * time.Second
	short    = 2 * time.Second // a visibility timeout
)

// shipments runs the function createshipment as it ships, on a queue of a fake broker.
type shipments struct {
	t                  *testing.T
	pool               *pgxpool.Pool
	broker             *fakeaws.Server
	client             *sqs.Client
	queue, deadLetters fakeaws.Queue
	log                *syncBuffer
	env                map[string]string // of the function, besides the database
}

// newShipments creates the queue. start starts the function, so that a test can send the messages
// of one batch first.
func newShipments(t *testing.T, maxReceives int, visibility time.Duration) *shipments {
	t.Helper()
	if err := built.orders(); err != nil {
		t.Fatal(err)
	}
	s := &shipments{t: t, log: &syncBuffer{}}
	var err error
	s.broker, err = fakeaws.Start(fakeaws.Options{})
	s.must(err)
	t.Cleanup(func() { _ = s.broker.Close() })
	s.client = sqs.NewFromConfig(messaging.Config(s.broker.URL()))
	s.deadLetters, err = s.broker.CreateQueue("dead.fifo", nil)
	s.must(err)
	s.queue, err = s.broker.CreateQueue("shipments.fifo", map[string]string{
		"VisibilityTimeout": strconv.Itoa(int(visibility.Seconds())), "MaximumMessageSize": "1048576",
		"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, s.deadLetters.ARN, maxReceives),
	})
	s.must(err)
	return s
}

func (s *shipments) start() {
	s.t.Helper()
	url := pgtest.NewDatabase(s.t)
	migrate := exec.CommandContext(s.t.Context(), filepath.Join(built.dir, "migrate"))
	migrate.Env = append(os.Environ(), "DATABASE_URL="+url)
	if output, err := migrate.CombinedOutput(); err != nil {
		s.t.Fatalf("migrate: %v: %s", err, output)
	}
	var err error
	s.pool, err = pgxpool.New(context.Background(), url)
	s.must(err)
	s.t.Cleanup(s.pool.Close)
	s.exec(`ALTER TABLE shipments ADD CONSTRAINT broken CHECK (customer_id <> 'broken')`)
	env := map[string]string{"DATABASE_URL": url, "DATABASE_AUTH": "password"}
	maps.Copy(env, s.env)
	g, err := gateway.Start(s.t.Context(), gateway.Options{
		Addr: "127.0.0.1:0", Template: template, BuildDir: built.dir, Concurrency: 2, Log: s.log, Env: env,
		Queues: map[string]string{"Shipments.Outputs.QueueArn": s.queue.ARN}, Broker: messaging.Config(s.broker.URL()),
	})
	s.must(err)
	s.t.Cleanup(func() {
		s.must(g.Close())
		if s.t.Failed() {
			s.t.Logf("log of the functions:\n%s", s.log)
		}
	})
}

func (s *shipments) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shipments) exec(sql string) {
	s.t.Helper()
	_, err := s.pool.Exec(s.t.Context(), sql)
	s.must(err)
}

// send sends the event of an order. Sent again, it has the same id and another deduplication id.
func (s *shipments) send(group, orderID, customer, deduplicationID string, padding int) {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{
		"id": orderID, "customer_id": customer, "lines": []map[string]any{{"sku": "book", "quantity": 1}},
	})
	s.must(err)
	s.sendMessage(&sqs.SendMessageInput{
		MessageBody:    aws.String(string(body) + strings.Repeat(" ", padding)),
		MessageGroupId: aws.String(group), MessageDeduplicationId: aws.String(deduplicationID),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"event_id": text("event of " + orderID), "event_type": text("order.created"),
		},
	})
}

// sendMessage sends a message to the queue of the function.
func (s *shipments) sendMessage(message *sqs.SendMessageInput) {
	s.t.Helper()
	message.QueueUrl = &s.queue.URL
	_, err := s.client.SendMessage(s.t.Context(), message)
	s.must(err)
}

// text returns the message attribute of a text.
func text(value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(value)}
}

// shipped returns the customers of all shipments in the order of their commits.
func (s *shipments) shipped() string {
	s.t.Helper()
	var customers string
	err := s.pool.QueryRow(s.t.Context(),
		`SELECT coalesce(string_agg(customer_id, ' ' ORDER BY created_at), '') FROM shipments`).Scan(&customers)
	s.must(err)
	return customers
}

func (s *shipments) eventually(awaited string, condition func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %v in vain until %s", patience, awaited)
		}
	}
}

// messages returns the number of messages of a queue, also of those that a consumer works on.
func (s *shipments) messages(queue fakeaws.Queue) (n int) {
	s.t.Helper()
	got, err := s.client.GetQueueAttributes(s.t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &queue.URL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	s.must(err)
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"} {
		count, err := strconv.Atoi(got.Attributes[name])
		s.must(err)
		n += count
	}
	return n
}

func (s *shipments) awaitEmpty() {
	s.t.Helper()
	s.eventually("the queue is empty", func() bool { return s.messages(s.queue) == 0 })
}

// redrive moves the messages of the dead-letter queue back, as StartMessageMoveTask does.
func (s *shipments) redrive() {
	s.t.Helper()
	received, err := s.client.ReceiveMessage(s.t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &s.deadLetters.URL, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	s.must(err)
	for _, m := range received.Messages {
		_, err := s.client.SendMessage(s.t.Context(), &sqs.SendMessageInput{
			QueueUrl: &s.queue.URL, MessageBody: m.Body, MessageAttributes: m.MessageAttributes,
			MessageGroupId:         aws.String(m.Attributes["MessageGroupId"]),
			MessageDeduplicationId: aws.String("moved-" + *m.MessageId),
		})
		s.must(err)
		_, err = s.client.DeleteMessage(s.t.Context(), &sqs.DeleteMessageInput{
			QueueUrl: &s.deadLetters.URL, ReceiptHandle: m.ReceiptHandle,
		})
		s.must(err)
	}
}

func TestEventThatComesTwiceWritesOneShipment(t *testing.T) {
	t.Parallel()
	s := newShipments(t, 100, short)
	for range 20 {
		order := uuid.NewString()
		s.send(order, order, "customer", order, 0)
		s.send(order, order, "customer", order+"-again", 0)
	}
	s.start()
	s.awaitEmpty()
	if n := len(strings.Fields(s.shipped())); n != 20 {
		t.Errorf("%d shipments, want 20", n)
	}
}

// TestGroupStopsAtItsFirstFailure: the message behind the failed one waits, and a third one of
// another group does not.
func TestGroupStopsAtItsFirstFailure(t *testing.T) {
	t.Parallel()
	s := newShipments(t, 100, short)
	s.send("a", uuid.NewString(), "first", "1", 0)
	s.send("a", uuid.NewString(), "broken", "2", 0)
	s.send("a", uuid.NewString(), "behind", "3", 0)
	s.send("b", uuid.NewString(), "other", "4", 0)
	s.start()
	s.eventually("the failed message was received three times", func() bool {
		return strings.Contains(s.log.String(), `"receive_count":"3"`)
	})
	if got := strings.Fields(s.shipped()); len(got) != 2 || slices.Contains(got, "behind") {
		t.Errorf("shipped %q, want first and other", got)
	}
	s.exec(`ALTER TABLE shipments DROP CONSTRAINT broken`)
	s.awaitEmpty()
	of := slices.DeleteFunc(strings.Fields(s.shipped()), func(customer string) bool { return customer == "other" })
	if !slices.Equal(of, []string{"first", "broken", "behind"}) {
		t.Errorf("shipped %q of the group", of)
	}
}

func TestGivenUpEventIsRedriven(t *testing.T) {
	t.Parallel()
	s := newShipments(t, 2, short)
	order := uuid.NewString()
	s.send("a", order, "broken", "1", 0)
	s.start()
	s.eventually("the event is in the dead-letter queue", func() bool { return s.messages(s.deadLetters) == 1 })
	if n := strings.Count(s.log.String(), `"level":"ERROR"`); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
	s.send("a", uuid.NewString(), "later", "2", 0)
	s.eventually("a later event of the group is processed", func() bool { return s.shipped() == "later" })
	s.exec(`ALTER TABLE shipments DROP CONSTRAINT broken`)
	s.redrive()
	s.awaitEmpty()
	if got := s.shipped(); got != "later broken" || s.messages(s.deadLetters) != 0 {
		t.Errorf("shipped %q, and %d dead letters", got, s.messages(s.deadLetters))
	}
}

// TestBatchBeyondAnInvocationIsSplit: ten messages are larger than the payload of an invocation.
func TestBatchBeyondAnInvocationIsSplit(t *testing.T) {
	t.Parallel()
	s := newShipments(t, 1, time.Minute)
	for n := range 10 {
		s.send(strconv.Itoa(n), uuid.NewString(), "customer", strconv.Itoa(n), 1000<<10)
	}
	s.start()
	s.awaitEmpty()
	if n := len(strings.Fields(s.shipped())); n != 10 || s.messages(s.deadLetters) != 0 {
		t.Errorf("%d shipments, and %d dead letters", n, s.messages(s.deadLetters))
	}
}

// syncBuffer is a log that a test reads while functions write it.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
