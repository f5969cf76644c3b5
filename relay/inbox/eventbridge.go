package inbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// DecodeDetail reads the event from the detail of an event with which EventBridge invokes a Lambda
// function. For a queue that is the target of a rule, use [Decode].
//
// The payload is the JSON of the producer, which EventBridge may write with other white space.
func DecodeDetail(detail []byte) (Event, error) {
	m, found, err := fromDetail(detail)
	if err == nil && !found {
		err = errors.New("the detail has no metadata: check that the relay sent the event, and that the target has " +
			"neither an input path nor an input transformer")
	}
	if err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	event, err := read(m)
	if err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	return event, nil
}

// fromBus returns the message in a document in which EventBridge sends an event to a target. It
// reports false for any other document.
// https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
func fromBus(document string) (m Message, found bool, err error) {
	var event struct {
		DetailType string          `json:"detail-type"`
		Source     string          `json:"source"`
		Detail     json.RawMessage `json:"detail"`
	}
	if json.Unmarshal([]byte(document), &event) != nil || event.DetailType == "" || event.Source == "" {
		return Message{}, false, nil
	}
	return fromDetail(event.Detail)
}

// fromDetail returns the message in a detail, whose attributes are its metadata. It reports false
// for a detail without metadata.
func fromDetail(text []byte) (m Message, found bool, err error) {
	var detail struct {
		Metadata map[string]any  `json:"metadata"`
		Data     json.RawMessage `json:"data"`
		Text     *string         `json:"text"` // of a payload that is no JSON
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if decoder.Decode(&detail) != nil || detail.Metadata == nil {
		return Message{}, false, nil
	}
	m = Message{Body: string(detail.Data), Attributes: make(map[string]string, len(detail.Metadata))}
	if detail.Text != nil {
		m.Body = *detail.Text
	}
	var invalid []string
	for name, value := range detail.Metadata {
		switch value := value.(type) {
		case string:
			m.Attributes[name] = value
		case json.Number:
			m.Attributes[name] = value.String()
		default:
			invalid = append(invalid, quote(name))
		}
	}
	if invalid != nil {
		slices.Sort(invalid)
		return m, true, fmt.Errorf("metadata %s: neither a text nor a number", strings.Join(invalid, ", "))
	}
	if !isPublished(m) {
		return m, true, fmt.Errorf("the metadata has no %s: check that the relay sent the event",
			outbox.AttributeEventID)
	}
	return m, true, nil
}
