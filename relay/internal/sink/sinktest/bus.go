package sinktest

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// createBus creates an event bus with a rule that sends every event to a queue.
func (s suite) createBus(t *testing.T, name, queueARN string) (arn string) {
	t.Helper()
	created, err := s.events.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: &name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.deleteBus(t, name) })
	if _, err := s.events.PutRule(t.Context(), &eventbridge.PutRuleInput{
		Name: &name, EventBusName: &name, EventPattern: aws.String(`{"source":[{"prefix":""}]}`),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.events.PutTargets(t.Context(), &eventbridge.PutTargetsInput{
		Rule: &name, EventBusName: &name, Targets: []eventtypes.Target{{Id: aws.String("queue"), Arn: &queueARN}},
	}); err != nil {
		t.Fatal(err)
	}
	return *created.EventBusArn
}

// deleteBus deletes an event bus with its rule, if it exists.
func (s suite) deleteBus(t *testing.T, name string) {
	t.Helper()
	ctx := context.Background() // that of a test has ended in its cleanup
	_, err := s.events.RemoveTargets(ctx,
		&eventbridge.RemoveTargetsInput{Rule: &name, EventBusName: &name, Ids: []string{"queue"}})
	if err == nil {
		_, err = s.events.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &name, EventBusName: &name})
	}
	if err == nil {
		_, err = s.events.DeleteEventBus(ctx, &eventbridge.DeleteEventBusInput{Name: &name})
	}
	if err != nil && sink.Code(err) != "ResourceNotFoundException" {
		t.Error(err)
	}
}

// event is an event as a rule sends it to a queue.
type event struct {
	ID         string `json:"id"`
	Source     string `json:"source"`
	DetailType string `json:"detail-type"`
	Detail     struct {
		Metadata map[string]any  `json:"metadata"`
		Data     json.RawMessage `json:"data"`
		Text     *string         `json:"text"`
	} `json:"detail"`
}

// readEvent translates the event in a received message back into the sent message. The bus may
// write JSON of the same value in another way, so it is compared in one form.
func readEvent(t *testing.T, m types.Message) (event, *sink.Message) {
	t.Helper()
	var e event
	decoder := json.NewDecoder(bytes.NewReader([]byte(*m.Body)))
	decoder.UseNumber()
	if err := decoder.Decode(&e); err != nil {
		t.Fatalf("%v in %s", err, *m.Body)
	}
	message := &sink.Message{Body: canonical(string(e.Detail.Data)), Type: e.DetailType}
	if e.Detail.Text != nil {
		message.Body = *e.Detail.Text
	}
	for _, name := range sortedKeys(e.Detail.Metadata) {
		a := sink.Attribute{Name: name}
		switch value := e.Detail.Metadata[name].(type) {
		case string:
			a.Value = value
		case json.Number:
			a.Value, a.DataType = value.String(), sink.Number
		}
		if name == outbox.AttributeEventID {
			message.EventID = a.Value
		}
		message.Attributes = append(message.Attributes, a)
	}
	return e, message
}

// eventOf returns m as [readEvent] returns it. The bus keeps neither groups nor deduplication ids.
func eventOf(m *sink.Message) *sink.Message {
	arrived := *m
	arrived.GroupID, arrived.TenantID, arrived.DeduplicationID = "", "", ""
	if arrived.Body = canonical(m.Body); arrived.Type == "" {
		arrived.Type = sink.DefaultDetailType
	}
	arrived.Attributes = nil
	for _, a := range m.Attributes {
		if _, err := strconv.ParseInt(a.Value, 10, 64); err != nil { // sent as a text
			a.DataType = sink.String
		}
		arrived.Attributes = append(arrived.Attributes, a)
	}
	return &arrived
}

// canonical returns JSON in one form, and any other text as it is.
func canonical(text string) string {
	var value any
	if json.Unmarshal([]byte(text), &value) != nil {
		return text
	}
	again, err := json.Marshal(value)
	if err != nil {
		return text
	}
	return string(again)
}
