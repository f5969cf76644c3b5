package sinktest_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sns"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sqs"
)

// TestAnUnknownAuthorityNamesItsSetting: the certificate is that of a proxy, or of a broker that is
// not AWS.
func TestAnUnknownAuthorityNamesItsSetting(t *testing.T) {
	t.Parallel()
	for arn := range eachARN {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = nil
		server.StartTLS()
		t.Cleanup(server.Close)
		dest, err := sink.ParseDestination(arn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = openWith(t.Context(), config(server.URL), dest, sink.Options{}); err == nil ||
			!strings.Contains(err.Error(), "AWS_CA_BUNDLE") {
			t.Errorf("%v, want an error that names AWS_CA_BUNDLE", err)
		}
	}
}

// TestAWrongHostNameNamesNoAuthority: the certificate is known, and is that of another host.
func TestAWrongHostNameNamesNoAuthority(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	for arn := range eachARN {
		dest, err := sink.ParseDestination(arn)
		if err != nil {
			t.Fatal(err)
		}
		cfg := config(fmt.Sprintf("https://localhost:%d", port)) // the certificate names 127.0.0.1 and example.com
		cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
			tr.TLSClientConfig = &tls.Config{
				RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
			}
		})
		_, err = openWith(t.Context(), cfg, dest, sink.Options{})
		if err == nil || strings.Contains(err.Error(), "AWS_CA_BUNDLE") ||
			!strings.Contains(err.Error(), "AWS_ENDPOINT_URL") {
			t.Errorf("%v, want an error that names AWS_ENDPOINT_URL and no AWS_CA_BUNDLE", err)
		}
	}
}

// TestAMissingSizeIsThatOfAWS: not only AWS speaks SQS, and others omit attributes, leave them
// empty or write them differently.
func TestAMissingSizeIsThatOfAWS(t *testing.T) {
	t.Parallel()
	for _, given := range []string{
		`{}`, `{"MaximumMessageSize":""}`, `{"MaximumMessageSize":"0"}`,
		`{"MaximumMessageSize":"-1"}`,
		`{"MaximumMessageSize":"1 MiB"}`, `null`,
	} {
		server := stranger(t, given, "<entry><key>MaximumMessageSize</key><value></value></entry>")
		queue, err := sqs.Open(t.Context(), config(server), queueAt(server, "orders"), sink.Options{})
		if err != nil {
			t.Fatalf("%s: %v", given, err)
		}
		if size := queue.Limits().MaxMessageBytes; size != 1<<20 || len(queue.Description().Missing) != 1 {
			t.Errorf("%s: %d bytes, missing %v", given, size, queue.Description().Missing)
		}
		if arn := queue.Description().ARN; arn != "arn:aws:sqs:us-east-1:000000000000:orders" {
			t.Errorf("%s: without QueueArn the queue is %q", given, arn)
		}
		topic, err := sns.Open(t.Context(), config(server),
			sink.Destination{Service: sink.SNS, ARN: "arn:aws:sns:us-east-1:000000000000:orders"},
			sink.Options{})
		if err != nil || topic.Limits().MaxMessageBytes != 262_144 {
			t.Errorf("%s: a topic: %v", given, err)
		}
	}
}

// TestTheKindOfAStrangersQueueIsRead in any spelling, and known by its name where the broker does
// not tell it.
func TestTheKindOfAStrangersQueueIsRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, value string
		fifo        bool
	}{
		{"orders", "False", false},
		{"orders", "false", false},
		{"orders", "", false},
		{"orders.fifo", "", true},
		{"orders.fifo", "True", true},
		{"orders.fifo", "true", true},
		{"orders.fifo", "1", true},
	} {
		server := stranger(
			t,
			fmt.Sprintf(`{"FifoQueue":%q}`, c.value),
			"<entry><key>FifoTopic</key><value>"+c.value+"</value></entry>",
		)
		queue, err := sqs.Open(t.Context(), config(server), queueAt(server, c.name), sink.Options{})
		if err != nil || queue.Limits().FIFO != c.fifo {
			t.Errorf("queue %s, FifoQueue %q: %v", c.name, c.value, err)
		}
		topic, err := sns.Open(t.Context(), config(server),
			sink.Destination{Service: sink.SNS, ARN: "arn:aws:sns:us-east-1:000000000000:" + c.name},
			sink.Options{})
		if err != nil || topic.Limits().FIFO != c.fifo {
			t.Errorf("topic %s, FifoTopic %q: %v", c.name, c.value, err)
		}
	}
}

// TestAnswersAboutOthersOpenNothing: a proxy that caches answers gives the attributes of a FIFO
// topic for a standard one, and every message with a deduplication id would be refused.
func TestAnswersAboutOthersOpenNothing(t *testing.T) {
	t.Parallel()
	server := stranger(t, `{"QueueArn":"arn:aws:sqs:us-east-1:000000000000:others.fifo","FifoQueue":"true"}`,
		"<entry><key>TopicArn</key><value>arn:aws:sns:us-east-1:000000000000:others.fifo</value></entry>"+
			"<entry><key>FifoTopic</key><value>true</value></entry>")
	var mixedUp *sink.MixedUpError
	if _, err := sqs.Open(t.Context(), config(server), queueAt(server, "orders"), sink.Options{}); !errors.As(
		err, &mixedUp) {
		t.Errorf("a queue: %v", err)
	}
	topic := sink.Destination{Service: sink.SNS, ARN: "arn:aws:sns:us-east-1:000000000000:orders"}
	if _, err := sns.Open(t.Context(), config(server), topic, sink.Options{}); !errors.As(err, &mixedUp) {
		t.Errorf("a topic: %v", err)
	}
}

// The answer to another request has no queue's URL, and the relay would send to none until its end.
func TestAQueueNeedsItsOwnURL(t *testing.T) {
	t.Parallel()
	dest, err := sink.ParseDestination("arn:aws:sqs:us-east-1:000000000000:orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []string{
		`{}`, `{"Attributes":{}}`, `{"QueueUrl":""}`, `{"QueueUrl":"http://127.0.0.1/000000000000/others"}`,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, answer)
		}))
		t.Cleanup(server.Close)
		var mixedUp *sink.MixedUpError
		if _, err := sqs.Open(t.Context(), config(server.URL), dest, sink.Options{}); !errors.As(err, &mixedUp) {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func queueAt(server, name string) sink.Destination {
	dest, _ := sink.ParseDestination(server + "/000000000000/" + name)
	return dest
}

// stranger starts a broker that gives these attributes of a queue, in JSON, and of a topic, in XML.
func stranger(t *testing.T, queue, topic string) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "GetTopicAttributes") {
			fmt.Fprint(w, `<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes>`+topic+
				`</Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>`)
			return
		}
		fmt.Fprintf(w, `{"Attributes":%s}`, queue)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
