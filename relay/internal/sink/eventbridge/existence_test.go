package eventbridge

import (
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

func openBus(t *testing.T) (*Sink, *fakeaws.Server) {
	t.Helper()
	server, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	arn, err := server.CreateBus("orders")
	if err != nil {
		t.Fatal(err)
	}
	dest, err := sink.ParseDestination(arn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), aws.Config{
		BaseEndpoint: aws.String(server.URL()),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	}, dest, sink.Options{Entry: sink.Entry{Source: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	return s, server
}

// TestNoEventIsPutOnAMissingBus: EventBridge would accept it, and it would be lost.
func TestNoEventIsPutOnAMissingBus(t *testing.T) {
	t.Parallel()
	s, server := openBus(t)
	missing := server.Script(fakeaws.Match{Action: "DescribeEventBus"}, fakeaws.Missing())
	puts := server.Script(fakeaws.Match{Action: "PutEvents"}, fakeaws.Delay(0))
	s.existence.lookAt.Store(0)
	for range 2 {
		if _, err := s.Publish(t.Context(), usualBatch()); sink.Code(err) != codeMissing {
			t.Errorf("%v, want an error that says the bus does not exist", err)
		}
	}
	if puts.Hits() != 0 || missing.Hits() != 2 {
		t.Errorf("%d requests to the missing bus after %d looks, want 0 after 2", puts.Hits(), missing.Hits())
	}
	missing.Clear()
	silent := server.Script(fakeaws.Match{Action: "DescribeEventBus"}, fakeaws.Unavailable())
	if _, err := s.Publish(t.Context(), usualBatch()); sink.Code(err) != codeMissing {
		t.Errorf("%v after a look without an answer, want the error of the one before", err)
	}
	silent.Clear()
	if results, err := s.Publish(t.Context(), usualBatch()); err != nil || results[0].Err != nil {
		t.Errorf("once the bus exists: %v, %v", results, err)
	}
}

// TestOnlyADefiniteAnswerStopsEvents: a look that fails in another way says nothing about the bus.
func TestOnlyADefiniteAnswerStopsEvents(t *testing.T) {
	t.Parallel()
	s, server := openBus(t)
	for name, fault := range map[string]fakeaws.Fault{
		"denied": fakeaws.DenyAccess(), "throttled": fakeaws.Throttle(), "reset": fakeaws.Reset(),
	} {
		rule := server.Script(fakeaws.Match{Action: "DescribeEventBus"}, fault)
		s.existence.lookAt.Store(0)
		if results, err := s.Publish(t.Context(), usualBatch()); err != nil || results[0].Err != nil {
			t.Errorf("%s: %v, %v", name, results, err)
		}
		if rule.Hits() == 0 {
			t.Errorf("%s: no look", name)
		}
		rule.Clear()
	}
}

// TestABusOfAnotherAccountNeedsNoDescription: the policy of its owner may allow PutEvents alone.
func TestABusOfAnotherAccountNeedsNoDescription(t *testing.T) {
	t.Parallel()
	for message, opens := range map[string]bool{
		denial("arn:aws:sts::111122223333:assumed-role/relay/task"): true,
		denial("arn:aws-us-gov:iam::111122223333:user/relay"):       true,
		denial("arn:aws:sts::000000000000:assumed-role/relay/task"): false, // the account of the bus
		denial("anonymous"):                      false,
		"The caller is not authorized to do it.": false,
	} {
		s, server := openBus(t)
		described := server.Script(fakeaws.Match{Action: "DescribeEventBus"},
			fakeaws.Refuse(http.StatusBadRequest, "AccessDeniedException", message))
		err := s.ReadLimits(t.Context())
		if opens && (err != nil || !s.Description().Hidden) || !opens && sink.Code(err) != "AccessDeniedException" {
			t.Errorf("%s: %v, hidden %v", message, err, s.Description().Hidden)
		}
		if described.Hits() == 0 {
			t.Errorf("%s: no look", message)
		}
		// A bus that is gone has no policy, so EventBridge denies the events too.
		server.Script(fakeaws.Match{Action: "PutEvents"},
			fakeaws.Refuse(http.StatusBadRequest, "AccessDeniedException", message))
		if _, err := s.Publish(t.Context(), usualBatch()); err == nil {
			t.Errorf("%s: events that were denied count as delivered", message)
		}
	}
}

// denial is the message with which IAM denies a check of the bus.
func denial(caller string) string {
	return "User: " + caller + " is not authorized to perform: events:DescribeEventBus on resource: " +
		"arn:aws:events:us-east-1:000000000000:event-bus/orders because no resource-based policy allows " +
		"the events:DescribeEventBus action"
}

// TestAThrottledEntrySlowsTheDestination: its quota is that of the account.
func TestAThrottledEntrySlowsTheDestination(t *testing.T) {
	t.Parallel()
	s, server := openBus(t)
	server.Script(fakeaws.Match{Action: "PutEvents"},
		fakeaws.FailEntries("ThrottlingException", "Rate exceeded", false))
	results, err := s.Publish(t.Context(), usualBatch())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !sink.IsThrottled(r.Err) {
			t.Fatalf("%v does not count as throttled", r.Err)
		}
	}
}

// TestARepeatedAnswerConfirmsNothing although nothing in it names a request.
func TestARepeatedAnswerConfirmsNothing(t *testing.T) {
	t.Parallel()
	var r recent
	answer := func(i int) []sink.Result {
		return []sink.Result{
			{Err: sink.EntryError("InternalFailure", "")},
			{MessageID: sink.NewMessageID([]byte{byte(i), byte(i >> 8)})},
		}
	}
	for i := range 2 * remembered {
		if err := r.add(answer(i)); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	for _, i := range []int{remembered, 2*remembered - 1} {
		if err := r.add(answer(i)); sink.Code(err) != sink.CodeUnknownEntry {
			t.Errorf("answer %d again: %v", i, err)
		}
	}
	if len(r.known) != remembered {
		t.Errorf("%d answers are remembered, want %d", len(r.known), remembered)
	}
}
