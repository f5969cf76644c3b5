package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

func TestEmptyQueueIsExplainedInAPipe(t *testing.T) {
	q := newQueue(t)
	out, notes := q.read(t, cli{Once: true})
	if want := "the queue is empty: make demo"; out != "" || !strings.Contains(notes, want) {
		t.Errorf("printed %q, and noted %q, want %q in it", out, notes, want)
	}
}

func TestMessagesOfAnotherReaderAreExplained(t *testing.T) {
	q := newQueue(t)
	q.send(t, "one")
	received, err := q.client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q.url})
	if err != nil || len(received.Messages) != 1 {
		t.Fatalf("received %+v, %v", received, err)
	}
	out, notes := q.read(t, cli{Once: true})
	if want := "another reader has received 1"; out != "" || !strings.Contains(notes, want) {
		t.Errorf("printed %q, and noted %q, want %q in it", out, notes, want)
	}
}

func TestOnePassPrintsAllAndEnds(t *testing.T) {
	q := newQueue(t)
	for range 13 {
		q.send(t, "body")
	}
	for range 2 { // the first pass gives the messages back
		out, notes := q.read(t, cli{Once: true})
		if n := strings.Count(out, `"body":"body"`); n != 13 || strings.Contains(notes, "empty") {
			t.Errorf("printed %d events, want 13; notes: %q", n, notes)
		}
	}
}

func TestReaderSaysThatItWaitsAndEnds(t *testing.T) {
	q := newQueue(t)
	ctx, cancel := context.WithCancel(t.Context())
	notes := &watched{text: "the queue is empty", found: cancel} // as Ctrl-C does
	began := time.Now()
	if err := run(ctx, cli{QueueURL: q.url}, outFile(t), notes); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second || ctx.Err() == nil {
		t.Errorf("ended after %s with the notes %q", took, notes.String())
	}
}

// watched calls found once it has text.
type watched struct {
	mu sync.Mutex
	bytes.Buffer
	text  string
	found func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.text) {
		w.found()
	}
	return n, err
}

type testQueue struct {
	client *sqs.Client
	url    string
}

func newQueue(t *testing.T) testQueue {
	t.Helper()
	fake, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fake.Close() })
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": fake.URL(), "AWS_REGION": messaging.Region,
		"AWS_ACCESS_KEY_ID": messaging.AccessKey, "AWS_SECRET_ACCESS_KEY": messaging.SecretKey,
	} {
		t.Setenv(name, value)
	}
	client := sqs.NewFromConfig(messaging.Config(fake.URL()))
	created, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("events")})
	if err != nil {
		t.Fatal(err)
	}
	return testQueue{client: client, url: *created.QueueUrl}
}

func (q testQueue) send(t *testing.T, body string) {
	t.Helper()
	if _, err := q.client.SendMessage(t.Context(),
		&sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body}); err != nil {
		t.Fatal(err)
	}
}

// read runs the command with a file as its output, which is no terminal.
func (q testQueue) read(t *testing.T, c cli) (out, notes string) {
	t.Helper()
	c.QueueURL = q.url
	file, text := outFile(t), &bytes.Buffer{}
	if err := run(t.Context(), c, file, text); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(content), text.String()
}

func outFile(t *testing.T) *os.File {
	t.Helper()
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}
