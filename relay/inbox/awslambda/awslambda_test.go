package awslambda_test

import (
	"encoding/json"
	"fmt"
	"log"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"github.com/outbox-relay/outbox-relay/relay/inbox/awslambda"
)

// invocation is the document with which Lambda invokes a function that reads a queue.
// https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
const invocation = `{"Records": [{
	"messageId": "a1", "receiptHandle": "r1", "body": "{\"total\":1999}",
	"messageAttributes": {
		"event_id": {"stringValue": "0198a6f0", "stringListValues": [], "dataType": "String"},
		"event_type": {"stringValue": "order.created", "stringListValues": [], "dataType": "String"},
		"sequence": {"stringValue": "17", "stringListValues": [], "dataType": "Number"},
		"key": {"binaryValue": "AQ==", "stringListValues": [], "dataType": "Binary"}
	},
	"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:orders"
}]}`

func ExampleDecode() {
	var batch events.SQSEvent
	if err := json.Unmarshal([]byte(invocation), &batch); err != nil {
		log.Fatal(err)
	}
	for _, record := range batch.Records {
		event, err := awslambda.Decode(record)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %s %d %s\n", event.ID, event.Type, *event.Sequence, event.Payload)
	}
	// Output: 0198a6f0 order.created 17 {"total":1999}
}

func ExampleDecodeEvent() {
	const invocation = `{
		"version": "0", "id": "11710aed", "detail-type": "order.created", "source": "shop",
		"account": "123456789012", "time": "2026-11-23T20:38:55Z", "region": "eu-central-1", "resources": [],
		"detail": {
			"metadata": {"event_id": "0198a6f0", "event_type": "order.created", "sequence": 17},
			"data": {"total": 1999}
		}
	}`
	var e events.EventBridgeEvent
	if err := json.Unmarshal([]byte(invocation), &e); err != nil {
		log.Fatal(err)
	}
	event, err := awslambda.DecodeEvent(e)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s %d %s\n", event.ID, event.Type, *event.Sequence, event.Payload)
	// Output: 0198a6f0 order.created 17 {"total": 1999}
}

func TestEmptyRecordIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := awslambda.Decode(events.SQSMessage{}); err == nil || !strings.Contains(err.Error(), "event_id") {
		t.Errorf("%v", err)
	}
}

// TestFunctionDoesNotNeedTheSDK: the size of a function is part of the time of its cold start.
func TestFunctionDoesNotNeedTheSDK(t *testing.T) {
	t.Parallel()
	for path, unwanted := range map[string][]string{
		".":         {"github.com/aws/aws-sdk-go-v2", "github.com/jackc/tern"},
		"..":        {"github.com/aws/", "github.com/jackc/tern"},
		"../awssdk": {"github.com/aws/aws-lambda-go", "github.com/jackc/tern"},
	} {
		output, err := exec.Command("go", "list", "-deps", path).Output()
		if err != nil || !strings.Contains(string(output), "github.com/jackc/pgx/v5\n") {
			t.Fatalf("%s: %v: %s", path, err, output)
		}
		for _, module := range unwanted {
			if strings.Contains(string(output), module) {
				t.Errorf("%s imports %s", path, module)
			}
		}
	}
}
