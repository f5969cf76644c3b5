package shipment_test

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/functions/internal/largeevents"
	"github.com/outbox-relay/outbox-relay/functions/internal/shipment"
	"github.com/outbox-relay/outbox-relay/functions/internal/sqsbatch"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// newHandler returns the handler of the function with a database and a bucket, and its log.
func newHandler(t *testing.T, url string, fetch inbox.Fetch) (sqsbatch.Handler, *bytes.Buffer) {
	t.Helper()
	log, written := newLog()
	return shipment.Handler(open(t, url), fetch, log), written
}

// withoutBucket returns the Fetch of a function without a bucket.
func withoutBucket(t *testing.T) inbox.Fetch {
	t.Helper()
	fetch, err := largeevents.Fetch(t.Context(), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return fetch
}

// large returns the message that points to the body of m, and that body.
func large(m events.SQSMessage) (pointing events.SQSMessage, body string) {
	body = m.Body
	m.Body = `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"large","s3Key":"` +
		m.MessageId + `"}]`
	m.MessageAttributes["ExtendedPayloadSize"] = events.SQSMessageAttribute{
		DataType: "Number", StringValue: aws.String(strconv.Itoa(len(body))),
	}
	return m, body
}

// TestUnreadBodyHoldsItsGroupAlone: a large event is shipped from its object. One whose object
// cannot be read stays in the queue, as do later messages of its group.
func TestUnreadBodyHoldsItsGroupAlone(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	read, body := large(message(t, "1", "a", fifo))
	unread, _ := large(message(t, "2", "b", fifo))
	handler, written := newHandler(t, url, func(_ context.Context, bucket, key string) ([]byte, error) {
		if bucket != "large" || key != "1" {
			return nil, errors.New("SlowDown")
		}
		return []byte(body), nil
	})
	response, err := handler(t.Context(), events.SQSEvent{Records: []events.SQSMessage{
		read, unread, message(t, "3", "b", fifo), message(t, "4", "a", fifo),
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []events.SQSBatchItemFailure{{ItemIdentifier: "2"}, {ItemIdentifier: "3"}}
	if diff := cmp.Diff(want, response.BatchItemFailures); diff != "" {
		t.Errorf("reported (-want +got):\n%s%s", diff, written)
	}
	if got := count(t, url); got.IDs != 2 || got.Shipments != 2 {
		t.Errorf("rows %+v, want those of 1 and 4", got)
	}
}

func TestLargeEventWithoutABucketNamesTheSetting(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	pointing, _ := large(message(t, "1", "a", fifo))
	failed, logged := handle(t, url, pointing)
	if diff := cmp.Diff([]string{"1"}, failed); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
	if !strings.Contains(logged, largeevents.Bucket+" is empty: set it") {
		t.Errorf("logged %s", logged)
	}
}
