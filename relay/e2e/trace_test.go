package e2e_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestTraceContinuesThroughTheQueue(t *testing.T) {
	t.Parallel()
	const (
		traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		xray        = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:0"
	)
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming()
	for _, trace := range []string{xray, "Root=1-67891233-abcdef012345678912345678", "not X-Ray's"} {
		e := event(t, trace, `{}`)
		e.Headers = map[string]string{outbox.HeaderTraceparent: traceparent, outbox.HeaderXRay: trace}
		w.commit(e)
	}
	w.awaitReceived(3) // An invalid header delays no event.
	client := sqs.New(sqs.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(w.broker.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	received, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &w.queue.URL, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAWSTraceHeader},
	})
	w.must(err)
	passedOn := map[string]string{}
	for _, m := range received.Messages {
		if got := aws.ToString(m.MessageAttributes["traceparent"].StringValue); got != traceparent {
			t.Errorf("traceparent %q", got)
		}
		passedOn[aws.ToString(m.MessageAttributes[outbox.HeaderXRay].StringValue)] = m.Attributes["AWSTraceHeader"]
	}
	for trace, want := range map[string]string{
		xray: xray, "Root=1-67891233-abcdef012345678912345678": "Root=1-67891233-abcdef012345678912345678",
		"not X-Ray's": "",
	} {
		if got, found := passedOn[trace]; !found || got != want {
			t.Errorf("trace %q continued as %q (%v)", trace, got, found)
		}
	}
}
