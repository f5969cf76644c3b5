package sinktest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sns"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sqs"
)

// TestAnUnknownAuthorityNamesItsSetting: the certificate is that of a proxy, or of a broker that is not AWS.
func TestAnUnknownAuthorityNamesItsSetting(t *testing.T) {
	t.Parallel()
	for arn := range queueAndTopic {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = nil
		server.StartTLS()
		t.Cleanup(server.Close)
		dest, err := sink.ParseDestination(arn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = openWith(t.Context(), config(server.URL), dest, sink.Options{}); err == nil || !strings.Contains(err.Error(), "AWS_CA_BUNDLE") {
			t.Errorf("%v, want an error that names AWS_CA_BUNDLE", err)
		}
	}
}

// TestAMissingSizeIsThatOfAWS: not only AWS speaks SQS, and others leave attributes out or give them empty.
func TestAMissingSizeIsThatOfAWS(t *testing.T) {
	t.Parallel()
	for _, given := range []string{`{}`, `{"MaximumMessageSize":""}`} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), "GetTopicAttributes") {
				fmt.Fprint(w, `<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes><entry><key>MaximumMessageSize</key>`+
					`<value></value></entry></Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>`)
				return
			}
			fmt.Fprintf(w, `{"Attributes":%s}`, given)
		}))
		t.Cleanup(server.Close)
		queue, err := sqs.Open(t.Context(), config(server.URL), sink.Destination{Service: sink.SQS, URL: server.URL + "/000000000000/orders"}, sink.Options{})
		if err != nil {
			t.Fatalf("%s: %v", given, err)
		}
		if size := queue.Limits().MaxMessageBytes; size != 1<<20 || len(queue.Description().Missing) != 1 {
			t.Errorf("%s: %d bytes, missing %v", given, size, queue.Description().Missing)
		}
		topic, err := sns.Open(t.Context(), config(server.URL), sink.Destination{Service: sink.SNS, ARN: "arn:aws:sns:us-east-1:000000000000:orders"}, sink.Options{})
		if err != nil || topic.Limits().MaxMessageBytes != 262_144 {
			t.Errorf("%s: a topic: %v", given, err)
		}
	}
}
