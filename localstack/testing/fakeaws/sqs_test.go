package fakeaws_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

func sendEntry(id, body string) types.SendMessageBatchRequestEntry {
	return types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
}

func fifoEntry(id, body string) types.SendMessageBatchRequestEntry {
	e := sendEntry(id, body)
	e.MessageGroupId, e.MessageDeduplicationId = aws.String("g"), aws.String("d"+id)
	return e
}

// TestABatchToAQueueFailsAsOnAWS: the table lists the errors of entries and of requests.
func TestABatchToAQueueFailsAsOnAWS(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	standard, fifo := f.queue(t, "s", map[string]string{"MaximumMessageSize": "2000"}), f.queue(t, "f.fifo", nil)
	edited := func(edit func(*types.SendMessageBatchRequestEntry)) types.SendMessageBatchRequestEntry {
		e := fifoEntry("bad", "b")
		edit(&e)
		return e
	}
	for name, c := range map[string]struct {
		queue   fakeaws.Queue
		bad     types.SendMessageBatchRequestEntry
		request string // the code of the request
		entry   string // the code of the entry
	}{
		"character":      {standard, sendEntry("bad", "a\x00"), "", "InvalidMessageContents"},
		"too long":       {standard, sendEntry("bad", strings.Repeat("x", 2001)), "", "InvalidParameterValue"},
		"empty body":     {standard, sendEntry("bad", ""), "", "MissingParameter"},
		"id on standard": {standard, fifoEntry("bad", "b"), "", "InvalidParameterValue"},
		"all too long": {
			standard, sendEntry("bad", strings.Repeat("x", 1<<20)),
			"AWS.SimpleQueueService.BatchRequestTooLong", "",
		},
		"id repeated":     {standard, sendEntry("good", "b"), "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", ""},
		"id with a point": {standard, sendEntry("b.d", "b"), "AWS.SimpleQueueService.InvalidBatchEntryId", ""},
		"id of 81": {
			standard, sendEntry(strings.Repeat("i", 81), "b"),
			"AWS.SimpleQueueService.InvalidBatchEntryId", "",
		},
		"no group": {
			fifo, edited(func(e *types.SendMessageBatchRequestEntry) { e.MessageGroupId = nil }),
			"MissingParameter", "",
		},
		"no id": {
			fifo,
			edited(func(e *types.SendMessageBatchRequestEntry) { e.MessageDeduplicationId = nil }),
			"InvalidParameterValue", "",
		},
		"group of spaces": {
			fifo,
			edited(func(e *types.SendMessageBatchRequestEntry) { e.MessageGroupId = aws.String("a b") }), "",
			"InvalidParameterValue",
		},
		"empty group": {
			fifo,
			edited(func(e *types.SendMessageBatchRequestEntry) { e.MessageGroupId = aws.String("") }), "",
			"InvalidParameterValue",
		},
		"delay on FIFO": {
			fifo, edited(func(e *types.SendMessageBatchRequestEntry) { e.DelaySeconds = 1 }), "",
			"InvalidParameterValue",
		},
		"queue is missing": {
			fakeaws.Queue{URL: standard.URL + "x"},
			sendEntry("bad", "b"),
			"AWS.SimpleQueueService.NonExistentQueue", "",
		},
	} {
		good := sendEntry("good", "g")
		if c.queue == fifo {
			good = fifoEntry("good", "g "+name)
			good.MessageDeduplicationId = aws.String(strings.ReplaceAll(name, " ", "-"))
		}
		before := f.ReceivedCount(c.queue.ARN)
		answer, err := f.sqs.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{
			QueueUrl: &c.queue.URL, Entries: []types.SendMessageBatchRequestEntry{good, c.bad},
		})
		accepted := f.ReceivedCount(c.queue.ARN) - before
		if c.request != "" {
			if code(err) != c.request || accepted != 0 {
				t.Errorf("%s: %v, %d accepted, want %s and none", name, err, accepted, c.request)
			}
			continue
		}
		if err != nil || len(answer.Successful) != 1 || len(answer.Failed) != 1 || accepted != 1 {
			t.Errorf("%s: %v, %+v, %d accepted, want one of two", name, err, answer, accepted)
			continue
		}
		if failed := answer.Failed[0]; *failed.Code != c.entry || *failed.Id != "bad" || !failed.SenderFault {
			t.Errorf("%s: failed with %s, want %s", name, *failed.Code, c.entry)
		}
	}
}

func TestAQueueTellsItsAttributesAndChangesThem(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{Region: "eu-central-1", Account: "123456789012"})
	dead := f.queue(t, "dead.fifo", nil)
	q := f.queue(t, "q.fifo", map[string]string{
		"MaximumMessageSize":  "4096",
		"FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "messageGroup",
	})
	policy := `{"deadLetterTargetArn":"` + dead.ARN + `","maxReceiveCount":"3"}`
	_, err := f.sqs.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: &q.URL, Attributes: map[string]string{"VisibilityTimeout": "7", "RedrivePolicy": policy},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := f.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl:       &q.URL,
		AttributeNames: []types.QueueAttributeName{"All"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"QueueArn": "arn:aws:sqs:eu-central-1:123456789012:q.fifo", "FifoQueue": "true", "MaximumMessageSize": "4096",
		"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId", "VisibilityTimeout": "7",
		"RedrivePolicy": policy, "ContentBasedDeduplication": "false", "ApproximateNumberOfMessages": "0",
	} {
		if answer.Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, answer.Attributes[name], want)
		}
	}
}

func TestAttributesThatAQueueCannotHaveAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	f.queue(t, "exists", nil)
	for name, c := range map[string]struct {
		queue, attribute, value, want string
	}{
		"size":      {"q", "MaximumMessageSize", "1048577", "InvalidAttributeValue"},
		"number":    {"q", "DelaySeconds", "soon", "InvalidAttributeValue"},
		"unknown":   {"q", "Colour", "red", "InvalidAttributeName"},
		"only FIFO": {"q", "ContentBasedDeduplication", "true", "InvalidAttributeName"},
		"FIFO name": {"q", "FifoQueue", "true", "InvalidParameterValue"},
		"dead letters": {
			"q", "RedrivePolicy",
			`{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:none","maxReceiveCount":3}`,
			"InvalidParameterValue",
		},
		"throughput":     {"q.fifo", "FifoThroughputLimit", "perMessageGroupId", "InvalidParameterValue"},
		"other settings": {"exists", "DelaySeconds", "3", "QueueAlreadyExists"},
	} {
		attributes := map[string]string{c.attribute: c.value}
		if strings.HasSuffix(c.queue, ".fifo") {
			attributes["FifoQueue"] = "true"
		}
		_, err := f.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &c.queue, Attributes: attributes})
		if code(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestAConsumerSeesTheAttributesItAsksFor(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q := f.queue(t, "q", map[string]string{"VisibilityTimeout": "0"})
	_, err := f.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &q.URL, MessageBody: aws.String("b"), MessageGroupId: aws.String("tenant"),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"order.id": {DataType: aws.String("Number"), StringValue: aws.String("7")},
			"order.by": {DataType: aws.String("String"), StringValue: aws.String("me")},
			"raw":      {DataType: aws.String("Binary"), BinaryValue: []byte{0, 255}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for names, want := range map[string]int{
		"": 0, "All": 3, ".*": 3, "order.*": 2, "raw": 1, "raw order.id": 2,
		"none": 0,
	} {
		answer, err := f.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &q.URL, MessageAttributeNames: strings.Fields(names),
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{
				"MessageGroupId",
				"ApproximateReceiveCount",
			},
		})
		if err != nil || len(answer.Messages) != 1 { // the SDK compares the checksums
			t.Fatalf("%q: %v, %d messages", names, err, len(answer.Messages))
		}
		m := answer.Messages[0]
		if len(m.MessageAttributes) != want || len(m.Attributes) != 2 || m.Attributes["MessageGroupId"] != "tenant" {
			t.Errorf("%q: %d attributes and %v, want %d", names, len(m.MessageAttributes), m.Attributes, want)
		}
		if raw, ok := m.MessageAttributes["raw"]; ok && !cmp.Equal(raw.BinaryValue, []byte{0, 255}) {
			t.Errorf("raw is %v", raw.BinaryValue)
		}
	}
}

func TestADeadLetterKeepsItsIdAndNamesItsQueue(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	dead := f.queue(t, "dead", nil)
	q := f.queue(t, "q", map[string]string{
		"VisibilityTimeout": "0", "RedrivePolicy": `{"deadLetterTargetArn":"` + dead.ARN + `","maxReceiveCount":1}`,
	})
	sent, err := f.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: aws.String("b")})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := f.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q.URL}); err != nil {
			t.Fatal(err)
		}
	}
	got := f.Received(dead.ARN)
	if len(got) != 1 || got[0].ID != *sent.MessageId || got[0].DeadLetterFrom != q.ARN {
		t.Errorf("dead letters: %+v, want message %s of %s", got, *sent.MessageId, q.ARN)
	}
}

func TestALongPollEndsWhenAMessageComes(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q := f.queue(t, "q", nil)
	received := make(chan int)
	begin := time.Now()
	go func() {
		answer, err := f.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl:        &q.URL,
			WaitTimeSeconds: 20,
		})
		if err != nil {
			t.Error(err)
			received <- 0
			return
		}
		received <- len(answer.Messages)
	}()
	if _, err := f.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl:    &q.URL,
		MessageBody: aws.String("b"),
	}); err != nil {
		t.Fatal(err)
	}
	if n := <-received; n != 1 || time.Since(begin) > 15*time.Second {
		t.Errorf("%d messages after %v", n, time.Since(begin))
	}
}
