package fakeaws_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/smithy-go"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

func eventsClient(server string) *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{
		Region: "us-east-1", BaseEndpoint: &server,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

func eventEntry(bus, detail string) types.PutEventsRequestEntry {
	return types.PutEventsRequestEntry{
		EventBusName: &bus, Source: aws.String("shop"), DetailType: aws.String("order.created"), Detail: &detail,
	}
}

// TestPutEventsFailsAsOnAWS: an invalid event fails its entry, and events that are too large
// together fail the request.
func TestPutEventsFailsAsOnAWS(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	bus, err := f.CreateBus("orders")
	if err != nil {
		t.Fatal(err)
	}
	client := eventsClient(f.URL())
	edited := func(edit func(*types.PutEventsRequestEntry)) types.PutEventsRequestEntry {
		e := eventEntry(bus, "{}")
		edit(&e)
		return e
	}
	for name, c := range map[string]struct {
		bad            types.PutEventsRequestEntry
		request, entry string // codes
	}{
		"no source": {edited(func(e *types.PutEventsRequestEntry) { e.Source = nil }), "", "InvalidArgument"},
		"no type":   {edited(func(e *types.PutEventsRequestEntry) { e.DetailType = nil }), "", "InvalidArgument"},
		"long type": {
			edited(func(e *types.PutEventsRequestEntry) { e.DetailType = aws.String(strings.Repeat("t", 129)) }),
			"", "InvalidArgument",
		},
		"no object": {eventEntry(bus, "[]"), "", "MalformedDetail"},
		"no JSON":   {eventEntry(bus, "{"), "", "MalformedDetail"},
		"too large": {eventEntry(bus, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`), "ValidationException", ""},
		// as on AWS, the event is accepted and gone
		"no bus": {eventEntry("absent", "{}"), "", ""},
	} {
		answer, err := client.PutEvents(t.Context(),
			&eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{eventEntry(bus, "{}"), c.bad}})
		var refused smithy.APIError
		if errors.As(err, &refused) && refused.ErrorCode() == c.request && c.request != "" {
			continue
		}
		if err != nil || c.request != "" {
			t.Errorf("%s: %v, want %q", name, err, c.request)
			continue
		}
		if code := aws.ToString(answer.Entries[1].ErrorCode); code != c.entry ||
			answer.FailedEntryCount > 0 != (c.entry != "") || answer.Entries[0].EventId == nil {
			t.Errorf("%s: entry failed with %q, want %q", name, code, c.entry)
		}
	}
}

// TestARuleSendsTheEventsOfItsPattern to its queue, in the form of AWS, until it is removed.
func TestARuleSendsTheEventsOfItsPattern(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	bus, err := f.CreateBus("orders")
	if err != nil {
		t.Fatal(err)
	}
	queue := f.queue(t, "q", nil)
	if err := f.SendTo(bus, queue.ARN, `{"detail":{"tenant":["acme"]}}`); err != nil {
		t.Fatal(err)
	}
	client := eventsClient(f.URL())
	if _, err := client.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		eventEntry(bus, `{"tenant":"other"}`), eventEntry(bus, `{"tenant":"acme"}`),
	}}); err != nil {
		t.Fatal(err)
	}
	received := f.Received(queue.ARN)
	if len(received) != 1 || f.ReceivedCount(bus) != 2 {
		t.Fatalf("the queue got %d events and the bus %d, want 1 and 2", len(received), f.ReceivedCount(bus))
	}
	for _, part := range []string{
		`"version":"0","id":"` + f.Received(bus)[1].ID, `"detail-type":"order.created","source":"shop"`,
		`"account":"000000000000"`, `"region":"us-east-1","resources":[],"detail":{"tenant":"acme"}}`,
	} {
		if !strings.Contains(received[0].Body, part) {
			t.Errorf("%s\ndoes not have %s", received[0].Body, part)
		}
	}
	if _, err := client.DeleteEventBus(t.Context(),
		&eventbridge.DeleteEventBusInput{Name: aws.String("orders")}); err == nil {
		t.Error("a bus with a rule was deleted")
	}
}
