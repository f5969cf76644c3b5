package gateway_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// TestLargeOrderIsShippedFromItsBucket: the function reads the body to which a message points.
func TestLargeOrderIsShippedFromItsBucket(t *testing.T) {
	t.Parallel()
	s := newShipments(t, 1, short)
	const bucket, key = "large-events", "1/0123456789abcdef"
	s.broker.CreateBucket(bucket)
	order := `{"id":"01937b4e-7d4a-7c3e-9f57-0a8a3c1d2e4f","customer_id":"large","lines":[{"sku":"book","quantity":1}]}`
	order += strings.Repeat(" ", 2<<20)
	client := s3.NewFromConfig(messaging.Config(s.broker.URL()), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Body: strings.NewReader(order),
	})
	s.must(err)
	s.sendMessage(&sqs.SendMessageInput{
		MessageBody: aws.String(`["software.amazon.payloadoffloading.PayloadS3Pointer",` +
			`{"s3BucketName":"` + bucket + `","s3Key":"` + key + `"}]`),
		MessageGroupId: aws.String("a"), MessageDeduplicationId: aws.String("1"),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"event_id": text("1"), "event_type": text("order.created"),
			"ExtendedPayloadSize": {DataType: aws.String("Number"), StringValue: aws.String(strconv.Itoa(len(order)))},
		},
	})
	s.env = map[string]string{
		"LARGE_EVENTS_BUCKET": bucket, "AWS_ENDPOINT_URL": s.broker.URL(),
		"AWS_ACCESS_KEY_ID": messaging.AccessKey, "AWS_SECRET_ACCESS_KEY": messaging.SecretKey,
	}
	s.start()
	s.awaitEmpty()
	if got := s.shipped(); got != "large" || s.messages(s.deadLetters) != 0 {
		t.Errorf("shipped %q, and %d dead letters", got, s.messages(s.deadLetters))
	}
}
