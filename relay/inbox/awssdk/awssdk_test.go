package awssdk_test

import (
	"fmt"
	"log"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/relay/inbox/awssdk"
)

// received is a message as ReceiveMessage returns it.
var received = types.Message{
	MessageId: aws.String("a1"), ReceiptHandle: aws.String("r1"), Body: aws.String(`{"total":1999}`),
	MessageAttributes: map[string]types.MessageAttributeValue{
		"event_id":   {DataType: aws.String("String"), StringValue: aws.String("0198a6f0")},
		"event_type": {DataType: aws.String("String"), StringValue: aws.String("order.created")},
		"sequence":   {DataType: aws.String("Number"), StringValue: aws.String("17")},
		"key":        {DataType: aws.String("Binary"), BinaryValue: []byte{1}},
	},
}

func ExampleDecode() {
	event, err := awssdk.Decode(received)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s %d %s\n", event.ID, event.Type, *event.Sequence, event.Payload)
	// Output: 0198a6f0 order.created 17 {"total":1999}
}

func TestEmptyMessageIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := awssdk.Decode(types.Message{}); err == nil || !strings.Contains(err.Error(), "event_id") {
		t.Errorf("%v", err)
	}
}
