package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

const pointer = `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"large","s3Key":"0198a6f0"}]`

// fetchOne is a bucket with one object.
func fetchOne(_ context.Context, bucket, key string) ([]byte, error) {
	if bucket != "large" || key != "0198a6f0" {
		return nil, errors.New("no such object")
	}
	return []byte(`{"total":1999}`), nil
}

// The function of the package awss3 reads from a bucket. This one stands for it.
func ExampleResolve() {
	message := inbox.Message{Body: pointer, Attributes: map[string]string{
		"event_id": "0198a6f0", "event_type": "order.created", "ExtendedPayloadSize": "14",
	}}
	message, err := inbox.Resolve(context.Background(), message, fetchOne)
	if err != nil {
		log.Fatal(err) // a retry may help
	}
	event, err := inbox.Decode(message)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s\n", event.ID, event.Payload)
	// Output: 0198a6f0 {"total":1999}
}

// large returns the message of a large event.
func large() inbox.Message {
	return with(inbox.Message{Body: pointer, Attributes: published().Attributes}, "ExtendedPayloadSize", "14")
}

func TestEveryShapeOfALargeEventIsResolved(t *testing.T) {
	t.Parallel()
	for shape, m := range map[string]inbox.Message{"direct": large(), "envelope": enveloped(t, large())} {
		before := inbox.Message{Body: m.Body, Attributes: map[string]string{}}
		for name, value := range m.Attributes {
			before.Attributes[name] = value
		}
		if _, err := inbox.Decode(m); err == nil || !strings.Contains(err.Error(), "call Resolve") {
			t.Errorf("%s: without Resolve: %v", shape, err)
		}
		resolved, err := inbox.Resolve(t.Context(), m, fetchOne)
		if err != nil {
			t.Fatal(err)
		}
		if m.Body != before.Body || len(m.Attributes) != len(before.Attributes) {
			t.Errorf("%s: Resolve changes the message", shape)
		}
		got, err := inbox.Decode(resolved)
		if err != nil || string(got.Payload) != `{"total":1999}` || got.AggregateID != "4711" ||
			got.Headers["tenant"] != "acme" || got.Headers["ExtendedPayloadSize"] != "" {
			t.Errorf("%s: %+v, %v", shape, got, err)
		}
	}
}

func TestResolveLeavesOtherMessagesAlone(t *testing.T) {
	t.Parallel()
	looksLikeOne := published()
	looksLikeOne.Body = pointer
	for _, m := range []inbox.Message{published(), looksLikeOne, {Body: "{"}, enveloped(t, published())} {
		got, err := inbox.Resolve(t.Context(), m, fetchOne)
		if diff := cmp.Diff(m, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestABadPointerNamesItsProblem(t *testing.T) {
	t.Parallel()
	elsewhere, empty := large(), large()
	elsewhere.Body = strings.Replace(pointer, "0198a6f0", "other", 1)
	empty.Body = `["software.amazon.payloadoffloading.PayloadS3Pointer",{}]`
	for want, m := range map[string]inbox.Message{
		`from bucket large, key "other": no such object`: elsewhere,
		"the body points to S3, and it does not":         empty,
		`has 14 bytes, and the message says "15"`:        with(large(), "ExtendedPayloadSize", "15"),
	} {
		if _, err := inbox.Resolve(t.Context(), m, fetchOne); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
