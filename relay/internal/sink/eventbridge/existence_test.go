package eventbridge

import (
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
