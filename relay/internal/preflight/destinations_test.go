package preflight_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

const (
	topicARN = "arn:aws:sns:us-east-1:000000000000:orders"
	queueARN = "arn:aws:sqs:us-east-1:000000000000:orders.fifo"
)

// checkDestinations checks a topic and a queue of a broker.
func checkDestinations(
	t *testing.T, ctx context.Context, broker *fakeaws.Server, progress preflight.Progress,
) preflight.Findings {
	t.Helper()
	endpoint := broker.URL()
	_, found := preflight.Destinations{
		AWS: aws.Config{
			Region: "us-east-1", BaseEndpoint: &endpoint,
			Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		},
		Names:     []string{topicARN, queueARN},
		Unordered: true,
	}.Check(ctx, progress)
	return found
}

func startBroker(t *testing.T) *fakeaws.Server {
	t.Helper()
	broker, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	return broker
}

func TestMissingDestinationsAreReportedWithACommand(t *testing.T) {
	t.Parallel()
	broker := startBroker(t)
	problems := checkDestinations(t, t.Context(), broker, preflight.Progress{}).Of(preflight.Error)
	if len(problems) != 2 {
		t.Fatalf("found %s, want two", problems)
	}
	for i, words := range [][]string{
		{
			"topic " + topicARN + " does not exist at " + broker.URL(),
			"create it and its subscriptions before the relay runs",
			"aws sns create-topic --name orders --region us-east-1 --endpoint-url " + broker.URL(),
		},
		{
			"queue " + queueARN + " does not exist at " + broker.URL(),
			"aws sqs create-queue --queue-name orders.fifo --attributes FifoQueue=true",
		},
	} {
		for _, word := range words {
			if !strings.Contains(problems[i].String(), word) {
				t.Errorf("%q does not say %q", problems[i], word)
			}
		}
	}
	if _, err := broker.CreateTopic("orders", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.CreateQueue("orders.fifo", nil); err != nil {
		t.Fatal(err)
	}
	found := checkDestinations(t, t.Context(), broker, preflight.Progress{})
	var codes []preflight.Code
	for _, f := range found.Of(preflight.Degraded) {
		codes = append(codes, f.Code)
	}
	want := []preflight.Code{preflight.CodeSubscription, preflight.CodeAggregate, preflight.CodeThroughput}
	if found.Err() != nil || !slices.Equal(codes, want) {
		t.Errorf("found %s", found)
	}
}

// TestTopicWithoutSubscriberIsReported, unless it archives its messages.
func TestTopicWithoutSubscriberIsReported(t *testing.T) {
	t.Parallel()
	for name, attributes := range map[string]map[string]string{
		"no subscriber": nil, "archive": {"ArchivePolicy": `{"MessageRetentionPeriod":"30"}`},
	} {
		broker := startBroker(t)
		topic, err := broker.CreateTopic("orders", attributes)
		if err != nil {
			t.Fatal(err)
		}
		queue, err := broker.CreateQueue("orders", nil)
		if err != nil {
			t.Fatal(err)
		}
		found := checkDestinations(t, t.Context(), broker, preflight.Progress{})
		if found.Has(preflight.CodeSubscription, preflight.Degraded) != (attributes == nil) {
			t.Errorf("%s: found %s", name, found)
		}
		if _, err := broker.Subscribe(topic, queue.ARN, nil); err != nil {
			t.Fatal(err)
		}
		found = checkDestinations(t, t.Context(), broker, preflight.Progress{})
		if found.Has(preflight.CodeSubscription, preflight.Degraded) {
			t.Errorf("%s: with a subscriber found %s", name, found)
		}
	}
}

func TestRefusalNamesTheMissingPermission(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault fakeaws.Fault
		says  string
	}{
		"denied":  {fakeaws.DenyAccess(), "sns:Publish and sns:GetTopicAttributes"},
		"unknown": {fakeaws.Refuse(403, "InvalidClientTokenId", "who?"), "AWS_ACCESS_KEY_ID"},
		"expired": {fakeaws.ExpireToken(), "credentials"},
	} {
		broker := startBroker(t)
		broker.Script(fakeaws.Match{}, c.fault)
		problems := checkDestinations(t, t.Context(), broker, preflight.Progress{}).Of(preflight.Error)
		if len(problems) != 2 || !strings.Contains(problems[0].String(), c.says) {
			t.Errorf("%s: %s, want %s", name, problems, c.says)
		}
	}
}

// TestSlowBrokerIsReported: each destination may take ten seconds, and after two the operator
// learns its name.
func TestSlowBrokerIsReported(t *testing.T) {
	t.Parallel()
	broker := startBroker(t)
	broker.Script(fakeaws.Match{}, fakeaws.Hang())
	waiting := make(chan string, 10)
	began := time.Now()
	progress := preflight.Progress{Waiting: func(subject string, _ time.Duration) { waiting <- subject }}
	found := checkDestinations(t, t.Context(), broker, progress)
	if elapsed := time.Since(began); elapsed > 25*time.Second {
		t.Errorf("two destinations took %v", elapsed)
	}
	close(waiting)
	var subjects []string
	for subject := range waiting {
		subjects = append(subjects, subject)
	}
	if got := strings.Join(subjects, ", "); got != "destination "+topicARN+", destination "+queueARN {
		t.Errorf("waited for %s", got)
	}
	problems := found.Of(preflight.Error)
	if len(problems) != 2 || !preflight.OnlyTransient(found.Err()) ||
		!strings.Contains(problems[0].Explanation, "did not answer within 10s at "+broker.URL()) {
		t.Errorf("found %s", problems)
	}
}

// TestCheckNamesTheTenant of a standard destination. A FIFO destination always gets the aggregate.
func TestCheckNamesTheTenant(t *testing.T) {
	t.Parallel()
	broker := startBroker(t)
	if _, err := broker.CreateTopic("orders", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.CreateQueue("orders.fifo", nil); err != nil {
		t.Fatal(err)
	}
	endpoint := broker.URL()
	_, found := preflight.Destinations{
		AWS: aws.Config{
			Region: "us-east-1", BaseEndpoint: &endpoint,
			Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		},
		Names:  []string{topicARN, queueARN},
		Tenant: "header:tenant",
	}.Check(t.Context(), preflight.Progress{})
	var text strings.Builder
	for _, f := range found {
		text.WriteString(f.String() + "\n")
	}
	for _, want := range []string{
		topicARN + " exists (standard, RELAY_TENANT header:tenant)", queueARN + " exists (FIFO)",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s\ndoes not say %q", &text, want)
		}
	}
}

// TestPatternedDestinationsAreCheckedByName: without a request to any, because their first event
// opens them.
func TestPatternedDestinationsAreCheckedByName(t *testing.T) {
	t.Parallel()
	broker := startBroker(t)
	if _, err := broker.CreateQueue("orders.fifo", nil); err != nil {
		t.Fatal(err)
	}
	endpoint := broker.URL()
	opened, found := preflight.Destinations{
		AWS: aws.Config{
			Region: "us-east-1", BaseEndpoint: &endpoint,
			Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		},
		Names:        []string{endpoint + "/000000000000/orders.fifo"},
		Patterned:    []string{"arn:aws:sns:us-east-1:000000000000:none.fifo", topicARN, queueARN},
		GroupBatches: true, Unordered: true,
	}.Check(t.Context(), preflight.Progress{})
	problems := found.Of(preflight.Error)
	if len(problems) != 2 || !strings.Contains(problems[0].String(), topicARN+" is standard") ||
		!strings.Contains(problems[1].String(), queueARN+" are the same") {
		t.Errorf("found %s", problems)
	}
	if unordered := found.Of(preflight.Degraded); !strings.Contains(unordered[len(unordered)-1].String(), "none.fifo") {
		t.Errorf("found %s", unordered)
	}
	if len(opened) != 4 || opened[0].Patterned || !opened[1].Patterned || !opened[1].Sink.Limits().FIFO ||
		!opened[2].Sink.Limits().OneLine || opened[3].Sink.Limits().OneLine {
		t.Errorf("opened %+v", opened)
	}
}

// TestCheckSaysThatABusKeepsNoOrder, and how to create one that is missing.
func TestCheckSaysThatABusKeepsNoOrder(t *testing.T) {
	t.Parallel()
	broker := startBroker(t)
	endpoint := broker.URL()
	const busARN = "arn:aws:events:us-east-1:000000000000:event-bus/orders"
	check := func() preflight.Findings {
		_, found := preflight.Destinations{
			AWS: aws.Config{
				Region: "us-east-1", BaseEndpoint: &endpoint,
				Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
			},
			Names:   []string{busARN},
			Options: sink.Options{Entry: sink.Entry{Source: "shop"}},
		}.Check(t.Context(), preflight.Progress{})
		return found
	}
	problems := check().Of(preflight.Error)
	if len(problems) != 1 || !strings.Contains(problems[0].String(), "event bus "+busARN+" does not exist") ||
		!strings.Contains(problems[0].String(), "aws events create-event-bus --name orders --region us-east-1") {
		t.Errorf("found %s", problems)
	}
	if _, err := broker.CreateBus("orders"); err != nil {
		t.Fatal(err)
	}
	found := check()
	if last := found[len(found)-1].String(); found.Err() != nil ||
		!strings.Contains(last, "event bus, source shop. It keeps no order") {
		t.Errorf("found %s", last)
	}
	denied := broker.Script(fakeaws.Match{}, fakeaws.DenyAccess())
	defer denied.Clear()
	if problems := check().Of(preflight.Error); len(problems) != 1 ||
		!strings.Contains(problems[0].String(), "events:PutEvents and events:DescribeEventBus") {
		t.Errorf("found %s", problems)
	}
}
