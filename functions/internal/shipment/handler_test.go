package shipment_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
)

const fifo = "arn:aws:sqs:us-east-1:000000000000:shipments.fifo"

// message returns a message of an order in a group. Its id is that of its event.
func message(t *testing.T, id, group, queue string) events.SQSMessage {
	t.Helper()
	e := created(t, id)
	text := func(value string) events.SQSMessageAttribute {
		return events.SQSMessageAttribute{DataType: "String", StringValue: aws.String(value)}
	}
	return events.SQSMessage{
		MessageId: id, EventSourceARN: queue, Body: string(e.Payload),
		Attributes: map[string]string{"MessageGroupId": group},
		MessageAttributes: map[string]events.SQSMessageAttribute{
			"event_id": text(e.ID), "event_type": text(e.Type),
		},
	}
}

// broken returns the message with a body that no order resembles.
func broken(m events.SQSMessage) events.SQSMessage {
	m.Body = "{}"
	return m
}

// handle invokes the function with messages and returns the ids of the reported ones.
func handle(t *testing.T, url string, messages ...events.SQSMessage) (failed []string, logged string) {
	t.Helper()
	return handleWithin(t, usual, url, messages...)
}

// handleWithin is handle with another timeout of the function.
func handleWithin(t *testing.T, timeout time.Duration, url string, messages ...events.SQSMessage) (failed []string,
	logged string,
) {
	t.Helper()
	handler, written := newHandler(t, url, withoutBucket(t))
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	response, err := handler(ctx, events.SQSEvent{Records: messages})
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("the handler answered after the function's deadline")
	}
	for _, failure := range response.BatchItemFailures {
		failed = append(failed, failure.ItemIdentifier)
	}
	return failed, written.String()
}

// TestFailureHoldsBackItsGroupOnly: SQS keeps the order of a group only if nothing behind a failed
// message is deleted.
func TestFailureHoldsBackItsGroupOnly(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	failed, _ := handle(t, url, message(t, "1", "a", fifo), broken(message(t, "2", "a", fifo)),
		message(t, "3", "b", fifo), message(t, "4", "a", fifo), message(t, "5", "b", fifo))
	if diff := cmp.Diff([]string{"2", "4"}, failed); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
	if got := count(t, url); got.IDs != 3 || got.Shipments != 3 {
		t.Errorf("rows %+v, want those of 1, 3 and 5", got)
	}
}

// TestStandardQueueHoldsBackNothing: its groups are for fairness and have no order.
func TestStandardQueueHoldsBackNothing(t *testing.T) {
	t.Parallel()
	const standard = "arn:aws:sqs:us-east-1:000000000000:shipments"
	url := newDatabase(t)
	failed, _ := handle(t, url, broken(message(t, "1", "tenant", standard)), message(t, "2", "tenant", standard))
	if diff := cmp.Diff([]string{"1"}, failed); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
}

func TestMessageThatIsNoEventIsReported(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	stranger := events.SQSMessage{MessageId: "1", Body: "secret", EventSourceARN: fifo}
	failed, logged := handle(t, url, stranger, message(t, "2", "a", fifo))
	if diff := cmp.Diff([]string{"1"}, failed); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
	if !strings.Contains(logged, "no attribute event_id") || strings.Contains(logged, "secret") {
		t.Errorf("logged %s", logged)
	}
}

// TestRepeatedMessageOfABatchWritesOnce: a batch may contain an event twice.
func TestRepeatedMessageOfABatchWritesOnce(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	if failed, _ := handle(t, url, message(t, "1", "a", fifo), message(t, "1", "a", fifo)); failed != nil {
		t.Errorf("reported %q", failed)
	}
	if got := count(t, url); got != (rows{1, 1, 1}) {
		t.Errorf("rows %+v", got)
	}
}

// TestUnavailableDatabaseFailsTheBatchInTime: each message would wait for the database as long as
// the first one.
func TestUnavailableDatabaseFailsTheBatchInTime(t *testing.T) {
	t.Parallel()
	var batch []events.SQSMessage
	var want []string
	for _, id := range strings.Split("0123456789", "") {
		batch, want = append(batch, message(t, id, id, fifo)), append(want, id)
	}
	failed, logged := handle(t, "postgres://unused@127.0.0.1:1/nothing", batch...)
	if diff := cmp.Diff(want, failed); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
	if n := strings.Count(logged, "\n"); n != 1 {
		t.Errorf("%d attempts, want 1:\n%s", n, logged)
	}
}

// TestFunctionAnswersBeforeItsTimeout: the first message waits for a lock longer than the function
// may, and sooner than a statement times out.
func TestFunctionAnswersBeforeItsTimeout(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	lock := begin(t, url)
	if _, err := lock.Exec(t.Context(), `LOCK TABLE shipments`); err != nil {
		t.Fatal(err)
	}
	failed, _ := handleWithin(t, 3*time.Second, url, message(t, "1", "a", fifo), message(t, "2", "b", fifo))
	if diff := cmp.Diff([]string{"1", "2"}, failed); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
}

// TestSampleEventWritesAShipment: the sample is input for `sam local invoke`.
func TestSampleEventWritesAShipment(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	if failed, logged := handle(t, url, sample(t).Records...); failed != nil {
		t.Errorf("reported %q: %s", failed, logged)
	}
	if got := count(t, url); got != (rows{1, 1, 1}) {
		t.Errorf("rows %+v", got)
	}
}
