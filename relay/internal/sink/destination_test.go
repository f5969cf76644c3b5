package sink_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

const accountID = "123456789012"

func TestADestinationIsAnARNOrAQueueURL(t *testing.T) {
	t.Parallel()
	queue := func(region string) sink.Destination {
		return sink.Destination{Service: sink.SQS, Region: region, Account: accountID, Name: "orders"}
	}
	fifo := func(d sink.Destination) sink.Destination {
		d.Name, d.FIFO = "orders.fifo", true
		return d
	}
	topic := sink.Destination{Service: sink.SNS, Region: "eu-central-1", Account: accountID, Name: "orders"}
	bus := func(name string) sink.Destination {
		return sink.Destination{Service: sink.EventBridge, Region: "eu-central-1", Account: accountID, Name: name}
	}
	for text, want := range map[string]sink.Destination{
		"arn:aws:events:eu-central-1:123456789012:event-bus/orders":                   bus("orders"),
		"arn:aws:events:eu-central-1:123456789012:event-bus/orders.fifo":              bus("orders.fifo"),
		"arn:aws:sns:eu-central-1:123456789012:orders":                                topic,
		"arn:aws:sns:eu-central-1:123456789012:orders.fifo":                           fifo(topic),
		"arn:aws-cn:sqs:cn-north-1:123456789012:orders":                               queue("cn-north-1"),
		"arn:aws-us-gov:sqs:us-gov-west-1:123456789012:orders.fifo":                   fifo(queue("us-gov-west-1")),
		"https://sqs.eu-central-1.amazonaws.com/123456789012/orders":                  queue("eu-central-1"),
		"https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo":             fifo(queue("eu-central-1")),
		"https://sqs.cn-north-1.amazonaws.com.cn/123456789012/orders":                 queue("cn-north-1"),
		"https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/orders":            queue("us-gov-west-1"),
		"https://sqs.eu-west-1.api.aws/123456789012/orders":                           queue("eu-west-1"),
		"https://eu-west-1.queue.amazonaws.com/123456789012/orders":                   queue("eu-west-1"),
		"https://queue.amazonaws.com/123456789012/orders":                             queue("us-east-1"),
		"https://vpce-0a1b-2c3d.sqs.eu-west-1.vpce.amazonaws.com/123456789012/orders": queue("eu-west-1"),
		"http://sqs.eu-west-1.localhost.localstack.cloud:4566/123456789012/orders":    queue("eu-west-1"),
		"http://127.0.0.1:4566/queue/ap-southeast-2/123456789012/orders":              queue("ap-southeast-2"),
		"http://localhost:4566/123456789012/orders":                                   queue(""),
		"http://[::1]:4566/123456789012/orders.fifo":                                  fifo(queue("")),
		"arn:aws:sns:eu-central-1:123456789012:" + strings.Repeat("n", 251) +
			".fifo": {
			Service: sink.SNS, Region: "eu-central-1", Account: accountID,
			Name: strings.Repeat("n", 251) + ".fifo", FIFO: true,
		},
		"https://sqs.eu-central-1.amazonaws.com/123456789012/" + strings.Repeat("n", 75) +
			".fifo": {
			Service: sink.SQS, Region: "eu-central-1", Account: accountID,
			Name: strings.Repeat("n", 75) + ".fifo", FIFO: true,
		},
	} {
		got, err := sink.ParseDestination(text)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(sink.Destination{}, "ARN", "URL")); diff != "" ||
			got.String() != text {
			t.Errorf("%s was read as %s (want -, got +):\n%s", text, got, diff)
		}
	}
}

func TestADestinationThatIsNeitherSaysWhatIsAccepted(t *testing.T) {
	t.Parallel()
	for text, reason := range map[string]string{
		"":       "neither an ARN nor a URL",
		"orders": "neither an ARN nor a URL",
		" arn:aws:sns:eu-central-1:123456789012:orders":                    "neither an ARN nor a URL",
		"arn:aws:sns:eu-central-1:123456789012":                            "six parts",
		"arn:aws:sns:eu-central-1:123456789012:orders:6b0e":                "subscription",
		"arn:aws:sqs:eu-central-1:123456789012:orders:x":                   "six parts",
		"arn:aws:lambda:eu-central-1:123456789012:orders":                  "none of sns, sqs and events",
		"arn:oops:sns:eu-central-1:123456789012:orders":                    "partition",
		"arn:aws:sns:europe:123456789012:orders":                           "region",
		"arn:aws:sns:eu-central-1:1234:orders":                             "twelve digits",
		"arn:aws:sns:eu-central-1:123456789012:or ders":                    "name of a topic",
		"arn:aws:sqs:eu-central-1:123456789012:orders.fifo.fifo":           "name of a queue",
		"arn:aws:sqs:eu-central-1:123456789012:" + strings.Repeat("n", 81): "name of a queue",
		"arn:aws:events:eu-central-1:123456789012:orders":                  "event-bus/",
		"arn:aws:events:eu-central-1:123456789012:rule/orders":             "event-bus/",
		"arn:aws:events:eu-central-1:123456789012:event-busv2/orders/a1":   "event-bus/",
		"arn:aws:events:eu-central-1:123456789012:event-bus/":              "name of a bus",
		"arn:aws:events:eu-central-1:123456789012:event-bus/aws.partner/x": "name of a bus",
		"https://sqs.eu-central-1.amazonaws.com/orders":                    "/account/queue",
		"https://sqs.eu-central-1.amazonaws.com/123456789012/orders/":      "twelve digits",
		"https://user:secret@localhost/123456789012/orders":                "no user",
		"https://localhost/123456789012/orders?x=1":                        "no query",
		"https://localhost/123456789012/orders#":                           "no fragment",
		"https:///123456789012/orders":                                     "no host",
		"http://localhost:x/123456789012/orders":                           "not a URL",
		"ftp://localhost/123456789012/orders":                              "neither an ARN nor a URL",
	} {
		_, err := sink.ParseDestination(text)
		if err == nil || !strings.Contains(err.Error(), reason) ||
			!strings.Contains(err.Error(), "want an SNS topic ARN") {
			t.Errorf("%q: %v, want an error about %q that says what is accepted", text, err, reason)
		}
	}
}

func TestOnlyNonRegionalQueuesHaveTheirOwnEndpoint(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"arn:aws:sqs:eu-central-1:123456789012:orders":                   "",
		"https://sqs.eu-central-1.amazonaws.com/123456789012/orders":     "",
		"https://queue.amazonaws.com/123456789012/orders":                "",
		"http://localhost:4566/123456789012/orders":                      "http://localhost:4566",
		"https://v.sqs.eu-west-1.vpce.amazonaws.com/123456789012/o":      "https://v.sqs.eu-west-1.vpce.amazonaws.com",
		"http://127.0.0.1:4566/queue/ap-southeast-2/123456789012/orders": "http://127.0.0.1:4566",
	} {
		d, err := sink.ParseDestination(text)
		if err != nil || d.Endpoint() != want {
			t.Errorf("%s: endpoint %q, %v, want %q", text, d.Endpoint(), err, want)
		}
	}
}

// FuzzParseDestination: an accepted destination is complete, is printed as it was written, and is
// FIFO by its name.
func FuzzParseDestination(f *testing.F) {
	f.Add("arn:aws:sns:eu-central-1:123456789012:orders.fifo")
	f.Add("https://sqs.eu-central-1.amazonaws.com/123456789012/orders")
	f.Add("arn:aws:events:eu-central-1:123456789012:event-bus/orders.fifo")
	f.Add("http://127.0.0.1:4566/queue/ap-southeast-2/123456789012/orders")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := sink.ParseDestination(text)
		if err != nil {
			return
		}
		fifo := strings.HasSuffix(text, ".fifo") && d.Service != sink.EventBridge
		if d.String() != text || d.Account == "" || d.Name == "" || d.FIFO != fifo {
			t.Errorf("%q was read as %+v", text, d)
		}
		if d.Service != sink.SQS && (d.ARN == "" || d.Region == "") || (d.ARN == "") == (d.URL == "") {
			t.Errorf("%q was read as %+v", text, d)
		}
		if again, err := sink.ParseDestination(d.String()); err != nil || again != d {
			t.Errorf("%q is read as %+v and then as %+v, %v", text, d, again, err)
		}
	})
}
