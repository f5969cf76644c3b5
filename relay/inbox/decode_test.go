package inbox_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// published returns the message of an event, as the relay sends it, without these attributes.
func published(omitted ...string) inbox.Message {
	m := inbox.Message{
		Body: `{"total": 12.50, "note": "<ü>\u0041"}`,
		Attributes: map[string]string{
			"event_id": "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", "event_type": "order.created",
			"aggregate_type": "order", "aggregate_id": "4711", "occurred_at": "2026-11-23T20:38:55.123456Z",
			"sequence": "17", "tenant": "acme",
		},
	}
	for _, name := range omitted {
		delete(m.Attributes, name)
	}
	return m
}

// with returns a message with another value of an attribute.
func with(m inbox.Message, name, value string) inbox.Message {
	m.Attributes[name] = value
	return m
}

// enveloped returns the message in the document of SNS.
func enveloped(t *testing.T, m inbox.Message) inbox.Message {
	t.Helper()
	attributes := map[string]any{"key": map[string]string{"Type": "Binary", "Value": "AAEC"}}
	for name, value := range m.Attributes {
		attributes[name] = map[string]string{"Type": "String", "Value": value}
	}
	body, err := json.Marshal(map[string]any{
		"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:eu-central-1:123456789012:orders",
		"Message": m.Body, "Timestamp": "2026-11-23T20:38:55.200Z", "MessageAttributes": attributes,
	})
	if err != nil {
		t.Fatal(err)
	}
	return inbox.Message{Body: string(body)}
}

// onBus returns the message in the document in which a rule of EventBridge sends it to a queue.
func onBus(t *testing.T, m inbox.Message) inbox.Message {
	t.Helper()
	metadata := map[string]any{}
	for name, value := range m.Attributes {
		if metadata[name] = value; name == "sequence" {
			metadata[name] = json.Number(value)
		}
	}
	detail := map[string]any{"metadata": metadata, "data": json.RawMessage(m.Body)}
	if !json.Valid([]byte(m.Body)) {
		detail = map[string]any{"metadata": metadata, "text": m.Body}
	}
	var body strings.Builder
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(map[string]any{
		"version": "0", "id": "11710aed", "detail-type": "order.created", "source": "shop", "account": "123456789012",
		"time": "2026-11-23T20:38:55Z", "region": "eu-central-1", "resources": []string{}, "detail": detail,
	}); err != nil {
		t.Fatal(err)
	}
	return inbox.Message{Body: body.String()}
}

// TestEventOfABusDecodesToTheSameEvent: from the queue of a rule, and through a topic behind it.
// The bus keeps the JSON of the payload and not its white space.
func TestEventOfABusDecodesToTheSameEvent(t *testing.T) {
	t.Parallel()
	want, err := inbox.Decode(published())
	if err != nil {
		t.Fatal(err)
	}
	want.Payload = []byte(`{"total":12.50,"note":"<ü>\u0041"}`)
	bare := onBus(t, published())
	for name, m := range map[string]inbox.Message{"queue": bare, "topic": enveloped(t, bare)} {
		got, err := inbox.Decode(m)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestTextOfABusIsThePayload(t *testing.T) {
	t.Parallel()
	m := published()
	m.Body = "<order total=\"12\"/>\n"
	if got, err := inbox.Decode(onBus(t, m)); err != nil || string(got.Payload) != m.Body {
		t.Errorf("payload %q, %v", got.Payload, err)
	}
}

func TestEveryShapeDecodesToTheSameEvent(t *testing.T) {
	t.Parallel()
	want := inbox.Event{
		ID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", Type: "order.created", AggregateType: "order", AggregateID: "4711",
		OccurredAt: time.Date(2026, 11, 23, 20, 38, 55, 123456000, time.UTC), Sequence: new(int64(17)),
		Headers: map[string]string{"tenant": "acme"}, Payload: []byte(`{"total": 12.50, "note": "<ü>\u0041"}`),
	}
	for name, m := range map[string]inbox.Message{"direct": published(), "envelope": enveloped(t, published())} {
		got, err := inbox.Decode(m)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestOptionalAttributesMayBeMissing(t *testing.T) {
	t.Parallel()
	got, err := inbox.Decode(published("aggregate_type", "aggregate_id", "occurred_at", "sequence", "tenant"))
	want := inbox.Event{
		ID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", Type: "order.created",
		Payload: []byte(`{"total": 12.50, "note": "<ü>\u0041"}`),
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestReplayIsRecognised(t *testing.T) {
	t.Parallel()
	got, err := inbox.Decode(with(published(), "replay", "9"))
	if err != nil || got.Replay != 9 || got.Headers["replay"] != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestPayloadThatLooksLikeAnEnvelopeIsKept: a service may write any JSON.
func TestPayloadThatLooksLikeAnEnvelopeIsKept(t *testing.T) {
	t.Parallel()
	m := published()
	m.Body = enveloped(t, published()).Body
	for name, message := range map[string]inbox.Message{"direct": m, "envelope": enveloped(t, m)} {
		if got, err := inbox.Decode(message); err != nil || string(got.Payload) != m.Body {
			t.Errorf("%s: payload %s, %v", name, got.Payload, err)
		}
	}
}

func TestDecodeDoesNotChangeTheMessage(t *testing.T) {
	t.Parallel()
	m := published()
	if _, err := inbox.Decode(m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(published(), m); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestBadMessageNamesEveryProblem(t *testing.T) {
	t.Parallel()
	bodyless := published()
	bodyless.Body = ""
	long := strings.Repeat("9", 1000)
	for name, c := range map[string]struct {
		message inbox.Message
		want    []string
	}{
		"nothing requested": {
			inbox.Message{Body: "{}"},
			[]string{"no attribute event_id, event_type:", "MessageAttributeNames: All"},
		},
		"no id":              {published("event_id"), []string{"no attribute event_id:"}},
		"no type":            {published("event_type"), []string{"no attribute event_type:"}},
		"no type, enveloped": {enveloped(t, published("event_type")), []string{"no attribute event_type:"}},
		"no body":            {bodyless, []string{"the body is empty"}},
		"no time":            {with(published(), "occurred_at", "now"), []string{`occurred_at is "now"`, "RFC 3339"}},
		"no number":          {with(published(), "sequence", "1.5"), []string{`sequence is "1.5"`}},
		"two problems": {
			with(published("event_id"), "replay", long),
			[]string{"event_id", "replay is", `9"…`},
		},
		"confirmation": {
			inbox.Message{Body: `{"Type":"SubscriptionConfirmation","TopicArn":"arn:x","Message":"secret"}`},
			[]string{"no notification"},
		},
		"event of another": {
			inbox.Message{Body: `{"source":"aws.ec2","detail-type":"x","detail":{"metadata":{},"state":"secret"}}`},
			[]string{"the metadata has no event_id"},
		},
		"event of nothing": {
			inbox.Message{Body: `{"source":"aws.ec2","detail-type":"x","detail":{"state":"secret"}}`},
			[]string{"no attribute event_id"},
		},
		"notification of nothing": {
			inbox.Message{Body: `{"Type":"Notification","TopicArn":"arn:x"}`},
			[]string{"no notification"},
		},
		"text": {inbox.Message{Body: "secret"}, []string{"event_id"}},
	} {
		got, err := inbox.Decode(c.message)
		for _, part := range c.want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %q", name, err, part)
			}
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || len(err.Error()) > 300) {
			t.Errorf("%s: the error has the payload or is too long: %v", name, err)
		}
		if diff := cmp.Diff(inbox.Event{}, got); diff != "" {
			t.Errorf("%s: an event with an error:\n%s", name, diff)
		}
	}
}
