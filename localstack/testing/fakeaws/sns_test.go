package fakeaws_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

var raw = map[string]string{"RawMessageDelivery": "true"}

func publishEntry(id, body string) types.PublishBatchRequestEntry {
	return types.PublishBatchRequestEntry{Id: &id, Message: &body}
}

func fifoPublishEntry(id, body string) types.PublishBatchRequestEntry {
	e := publishEntry(id, body)
	e.MessageGroupId, e.MessageDeduplicationId = aws.String("g"), aws.String("d"+id)
	return e
}

func attribute(value string) map[string]types.MessageAttributeValue {
	return map[string]types.MessageAttributeValue{"kind": {DataType: aws.String("String"), StringValue: &value}}
}

func TestABatchToATopicFailsAsAWholeForAnyOfItsMessages(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	standard, fifo := f.topic(t, "s", nil), f.topic(t, "f.fifo", nil)
	edited := func(e types.PublishBatchRequestEntry,
		edit func(*types.PublishBatchRequestEntry),
	) types.PublishBatchRequestEntry {
		edit(&e)
		return e
	}
	for name, c := range map[string]struct {
		topic string
		bad   types.PublishBatchRequestEntry
		want  string
	}{
		"empty": {standard, publishEntry("bad", ""), "InvalidParameter"},
		"empty attribute": {standard, edited(publishEntry("bad", "b"),
			func(e *types.PublishBatchRequestEntry) { e.MessageAttributes = attribute("") }), "ParameterValueInvalid"},
		"id on standard":  {standard, fifoPublishEntry("bad", "b"), "InvalidParameter"},
		"too long":        {standard, publishEntry("bad", strings.Repeat("x", 262_144)), "BatchRequestTooLong"},
		"id repeated":     {standard, publishEntry("good", "b"), "BatchEntryIdsNotDistinct"},
		"id with a point": {standard, publishEntry("b.d", "b"), "InvalidBatchEntryId"},
		"no group": {fifo, edited(fifoPublishEntry("bad", "b"),
			func(e *types.PublishBatchRequestEntry) { e.MessageGroupId = nil }), "InvalidParameter"},
		"no id": {fifo, edited(fifoPublishEntry("bad", "b"),
			func(e *types.PublishBatchRequestEntry) { e.MessageDeduplicationId = nil }), "InvalidParameter"},
		"group of spaces": {fifo, edited(fifoPublishEntry("bad", "b"),
			func(e *types.PublishBatchRequestEntry) { e.MessageGroupId = aws.String("a b") }), "InvalidParameter"},
		"topic is missing": {standard + "x", publishEntry("bad", "b"), "NotFound"},
	} {
		good := publishEntry("good", "g")
		if c.topic == fifo {
			good = fifoPublishEntry("good", "g")
		}
		_, err := f.sns.PublishBatch(t.Context(), &sns.PublishBatchInput{
			TopicArn: &c.topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{good, c.bad},
		})
		if code(err) != c.want || f.ReceivedCount(c.topic) != 0 {
			t.Errorf("%s: %v, %d accepted, want %s and none", name, err, f.ReceivedCount(c.topic), c.want)
		}
	}
}

func (f fake) publish(t *testing.T, topic string, input sns.PublishInput) {
	t.Helper()
	input.TopicArn = &topic
	if _, err := f.sns.Publish(t.Context(), &input); err != nil {
		t.Fatal(err)
	}
}

func TestAMessageArrivesInTheFormItsSubscriptionAsksFor(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	topic := f.topic(t, "t", nil)
	plain, enveloped := f.queue(t, "plain", nil), f.queue(t, "enveloped", nil)
	f.subscribe(t, topic, plain, raw)
	f.subscribe(t, topic, enveloped, nil)
	f.publish(t, topic, sns.PublishInput{
		Message: aws.String("<b>ü & 🙂"), Subject: aws.String("s"), MessageAttributes: attribute("k"),
		MessageGroupId: aws.String("tenant"),
	})
	got := f.Received(plain.ARN)[0]
	if got.Body != "<b>ü & 🙂" || len(got.Attributes) != 1 || got.Attributes[0].StringValue != "k" ||
		got.GroupID != "tenant" {
		t.Errorf("raw: %+v", got.Message)
	}
	envelope := f.Received(enveloped.ARN)[0]
	var document struct {
		Type, TopicArn, Subject, Message string
		MessageAttributes                map[string]struct{ Type, Value string }
	}
	if err := json.Unmarshal([]byte(envelope.Body), &document); err != nil {
		t.Fatal(err)
	}
	if document.Message != "<b>ü & 🙂" || document.TopicArn != topic || document.Type != "Notification" ||
		document.Subject != "s" ||
		document.MessageAttributes["kind"].Value != "k" || len(envelope.Attributes) != 0 {
		t.Errorf("not raw: %s", envelope.Body)
	}
}

func TestAGroupIsForwardedWhereAWSForwardsIt(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	topic := f.topic(t, "t.fifo", nil)
	fifo, standard := f.queue(t, "f.fifo", nil), f.queue(t, "s", nil)
	f.subscribe(t, topic, fifo, raw)
	f.subscribe(t, topic, standard, raw)
	f.publish(t, topic, sns.PublishInput{
		Message: aws.String("m"), MessageGroupId: aws.String("g"),
		MessageDeduplicationId: aws.String("d"),
	})
	if got := f.Received(fifo.ARN)[0]; got.GroupID != "g" || got.DeduplicationID != "d" || got.SequenceNumber == "" {
		t.Errorf("FIFO topic to FIFO queue: %+v", got.Message)
	}
	if got := f.Received(standard.ARN)[0]; got.GroupID != "" || got.DeduplicationID != "" || got.SequenceNumber != "" {
		t.Errorf("FIFO topic to standard queue: %+v", got.Message)
	}
	_, err := f.Subscribe(f.topic(t, "s", nil), fifo.ARN, nil)
	if err == nil || !strings.Contains(err.Error(), "FIFO SQS Queues can not be subscribed to standard SNS topics") {
		t.Errorf("standard topic to FIFO queue: %v", err)
	}
}

func TestAFIFOTopicDeduplicatesInItsScope(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string]int{"Topic": 1, "MessageGroup": 2} {
		now := time.Unix(1e9, 0)
		f := start(t, fakeaws.Options{Now: func() time.Time { return now }})
		topic := f.topic(t, "t.fifo", map[string]string{"FifoThroughputScope": scope})
		q := f.queue(t, "s", nil) // the queue does not deduplicate
		f.subscribe(t, topic, q, raw)
		publish := func(group string) {
			f.publish(t, topic, sns.PublishInput{
				Message: aws.String("m"), MessageGroupId: &group,
				MessageDeduplicationId: aws.String("d"),
			})
		}
		publish("a")
		publish("b")
		publish("a")
		if got := f.ReceivedCount(q.ARN); got != want {
			t.Errorf("%s: %d delivered, want %d", scope, got, want)
		}
		now = now.Add(5 * time.Minute)
		publish("a")
		if got := f.ReceivedCount(q.ARN); got != want+1 {
			t.Errorf("%s: %d delivered after five minutes, want %d", scope, got, want+1)
		}
	}
}

func TestEntriesOfABatchArriveInOrder(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	topic, q := f.topic(t, "t.fifo", nil), f.queue(t, "q.fifo", nil)
	f.subscribe(t, topic, q, raw)
	var entries []types.PublishBatchRequestEntry
	for i := range 10 {
		entries = append(entries, fifoPublishEntry(fmt.Sprint(i), fmt.Sprint(i)))
	}
	answer, err := f.sns.PublishBatch(t.Context(), &sns.PublishBatchInput{
		TopicArn:                   &topic,
		PublishBatchRequestEntries: entries,
	})
	if err != nil {
		t.Fatal(err)
	}
	var bodies, sequence []string
	for _, r := range f.Received(q.ARN) {
		bodies, sequence = append(bodies, r.Body), append(sequence, r.SequenceNumber)
	}
	if got := strings.Join(bodies, ""); got != "0123456789" || !slices.IsSorted(sequence) ||
		len(answer.Successful) != 10 {
		t.Errorf("arrived as %s with %v", got, sequence)
	}
}

func TestAFilterPolicyDecidesWhoGetsAMessage(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	topic := f.topic(t, "t", nil)
	orders, rest := f.queue(t, "orders", nil), f.queue(t, "rest", nil)
	f.subscribe(t, topic, orders, map[string]string{
		"FilterPolicy":       `{"kind":[{"prefix":"order."}]}`,
		"RawMessageDelivery": "true",
	})
	f.subscribe(t, topic, rest, map[string]string{"FilterPolicy": `{"kind":[{"anything-but":{"prefix":"order."}}]}`})
	for _, kind := range []string{"order.created", "invoice.sent", "order.shipped"} {
		f.publish(t, topic, sns.PublishInput{Message: aws.String("m"), MessageAttributes: attribute(kind)})
	}
	if a, b := f.ReceivedCount(orders.ARN), f.ReceivedCount(rest.ARN); a != 2 || b != 1 {
		t.Errorf("%d and %d arrived, want 2 and 1", a, b)
	}
}

func TestUndeliverableMessageGoesToTheDeadLetterQueue(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	topic, q, dead := f.topic(t, "t", nil), f.queue(t, "q", map[string]string{"MaximumMessageSize": "1024"}), f.queue(t,
		"dead", nil)
	f.subscribe(t, topic, q, map[string]string{
		"RawMessageDelivery": "true",
		"RedrivePolicy":      `{"deadLetterTargetArn":"` + dead.ARN + `"}`,
	})
	f.publish(t, topic, sns.PublishInput{Message: aws.String(strings.Repeat("x", 1025))})
	f.publish(t, topic, sns.PublishInput{Message: aws.String(strings.Repeat("x", 1024))})
	if a, b := f.ReceivedCount(q.ARN), f.ReceivedCount(dead.ARN); a != 1 || b != 1 {
		t.Errorf("%d at the queue and %d dead letters, want 1 and 1", a, b)
	}
}

func TestATopicTellsItsAttributesAndSubscriptions(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	topic, q := f.topic(t, "t.fifo", map[string]string{"FifoThroughputScope": "MessageGroup"}), f.queue(t, "q.fifo",
		nil)
	f.subscribe(t, topic, q, raw)
	_, err := f.sns.SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{
		TopicArn: &topic, AttributeName: aws.String("MaximumMessageSize"), AttributeValue: aws.String("1048576"),
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := f.sns.GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: &topic})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"FifoTopic": "true", "FifoThroughputScope": "MessageGroup", "MaximumMessageSize": "1048576",
		"ContentBasedDeduplication": "false", "SubscriptionsConfirmed": "1",
	} {
		if answer.Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, answer.Attributes[name], want)
		}
	}
	list, err := f.sns.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	if err != nil || len(list.Subscriptions) != 1 || *list.Subscriptions[0].Endpoint != q.ARN {
		t.Fatalf("%v, %+v", err, list)
	}
	if _, err := f.sns.Unsubscribe(t.Context(),
		&sns.UnsubscribeInput{SubscriptionArn: list.Subscriptions[0].SubscriptionArn}); err != nil {
		t.Fatal(err)
	}
	f.publish(t, topic, sns.PublishInput{
		Message: aws.String("m"), MessageGroupId: aws.String("g"),
		MessageDeduplicationId: aws.String("d"),
	})
	if n := f.ReceivedCount(q.ARN); n != 0 {
		t.Errorf("%d arrived without a subscription", n)
	}
}
