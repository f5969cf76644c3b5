package fakeaws_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server with a client for each service. The clients do not retry.
type fake struct {
	*fakeaws.Server
	sns *sns.Client
	sqs *sqs.Client
}

func start(t *testing.T, options fakeaws.Options) fake {
	t.Helper()
	server, err := fakeaws.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // some tests close it themselves
	cfg := aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
	return fake{server, sns.NewFromConfig(cfg), sqs.NewFromConfig(cfg)}
}

func (f fake) queue(t *testing.T, name string, attributes map[string]string) fakeaws.Queue {
	t.Helper()
	q, err := f.CreateQueue(name, attributes)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func (f fake) topic(t *testing.T, name string, attributes map[string]string) string {
	t.Helper()
	arn, err := f.CreateTopic(name, attributes)
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

func (f fake) subscribe(t *testing.T, topic string, q fakeaws.Queue, attributes map[string]string) {
	t.Helper()
	if _, err := f.Subscribe(topic, q.ARN, attributes); err != nil {
		t.Fatal(err)
	}
}

// code returns the code of an error as the SDK reads it.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestCloseEndsEverythingThatWaits(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q := f.queue(t, "orders", nil)
	hung := f.Script(fakeaws.Match{Action: "SendMessage"}, fakeaws.Hang())
	ended := make(chan error, 2)
	go func() {
		_, err := f.sqs.ReceiveMessage(context.Background(),
			&sqs.ReceiveMessageInput{QueueUrl: &q.URL, WaitTimeSeconds: 20})
		ended <- err
	}()
	go func() {
		_, err := f.sqs.SendMessage(context.Background(), &sqs.SendMessageInput{
			QueueUrl:    &q.URL,
			MessageBody: aws.String("m"),
		})
		ended <- err
	}()
	if err := hung.AwaitHits(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("a request that waited was answered")
		}
	}
	if f.Close() == nil {
		t.Error("a second Close is no error")
	}
}

func TestAnAddressThatIsTakenIsNamed(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	addr := f.URL()[len("http://"):]
	_, err := fakeaws.Start(fakeaws.Options{Addr: addr})
	var taken *net.OpError
	if !errors.As(err, &taken) || taken.Addr.String() != addr {
		t.Errorf("%v, want an error that names %s", err, addr)
	}
}

func TestTheJournalHoldsWhatWasAcceptedInOrder(t *testing.T) {
	t.Parallel()
	var told string
	f := start(t, fakeaws.Options{Retain: 3, Accepted: func(arn string, r fakeaws.Receipt) {
		told += fmt.Sprintf("%s %s %v ", arn[strings.LastIndexByte(arn, ':')+1:], r.Body, r.Duplicate)
	}})
	q := f.queue(t, "orders.fifo", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	awaited := make(chan error)
	go func() { awaited <- f.AwaitReceived(ctx, q.ARN, 5) }()
	for _, id := range []string{"a", "b", "c", "c", "d"} {
		_, err := f.sqs.SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: &q.URL, MessageBody: &id, MessageGroupId: aws.String("g"), MessageDeduplicationId: &id,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-awaited; err != nil {
		t.Error(err)
	}
	var got string
	for _, r := range f.Received(q.ARN) { // the newest three
		got += fmt.Sprintf("%s %v ", r.Body, r.Duplicate)
	}
	if got != "c false c true d false " || f.ReceivedCount(q.ARN) != 5 {
		t.Errorf("received %q, %d in all", got, f.ReceivedCount(q.ARN))
	}
	if want := "orders.fifo a false orders.fifo b false orders.fifo c false orders.fifo c true orders.fifo d " +
		"false "; told != want {
		t.Errorf("told %q, want %q", told, want)
	}
	if f.Received("arn:aws:sqs:us-east-1:000000000000:none") != nil {
		t.Error("a queue that does not exist received something")
	}
}

func TestARuleConcernsWhatItMatchesAsOftenAsItSays(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q, other := f.queue(t, "orders", nil), f.queue(t, "other", nil)
	send := func(url, body string) string {
		_, err := f.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body})
		if err == nil {
			return ""
		}
		return code(err)
	}
	rule := f.Script(fakeaws.Match{
		Action: "SendMessage", Destination: "orders", After: 1, Times: 2,
		Entry: func(m *fakeaws.Message) bool { return m.Body == "bad" },
	}, fakeaws.Throttle())
	for i, step := range []struct{ url, body, want string }{
		{q.URL, "bad", ""}, // After
		{q.URL, "good", ""},
		{other.URL, "bad", ""},
		{q.URL, "bad", "ThrottlingException"},
		{q.URL, "bad", "ThrottlingException"},
		{q.URL, "bad", ""}, // Times
	} {
		if got := send(step.url, step.body); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	if rule.Hits() != 2 {
		t.Errorf("%d hits, want 2", rule.Hits())
	}
	until := f.Script(fakeaws.Match{}, fakeaws.Missing())
	if got := send(q.URL, "m"); got != "AWS.SimpleQueueService.NonExistentQueue" {
		t.Errorf("before the rule is cleared: %q", got)
	}
	until.Clear()
	if got := send(q.URL, "m"); got != "" {
		t.Errorf("after the rule was cleared: %q", got)
	}
	f.Script(fakeaws.Match{}, fakeaws.Missing())
	f.ClearScript()
	if got := send(q.URL, "m"); got != "" {
		t.Errorf("after the script was cleared: %q", got)
	}
}

func TestAReceiptNamesTheAccessKeyItWasSignedWith(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q, topic := f.queue(t, "q", nil), f.topic(t, "t", nil)
	if _, err := f.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl:    &q.URL,
		MessageBody: aws.String("b"),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.sns.Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: aws.String("b")}); err != nil {
		t.Fatal(err)
	}
	for _, arn := range []string{q.ARN, topic} {
		if sender := f.Received(arn)[0].Sender; sender != "a" {
			t.Errorf("%s names %q", arn, sender)
		}
	}
}
