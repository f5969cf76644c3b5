package inbox

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// notification is the JSON document in which SNS sends a message to a subscription without raw
// message delivery. https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
type notification struct {
	Type, TopicArn    string
	Message           *string
	MessageAttributes map[string]struct{ Type, Value string }
}

// withoutEnvelope returns the message as it was published. Only a message without an attribute of
// the relay can be in an envelope: SNS moves all attributes into the envelope, and EventBridge has
// none. So a payload that looks like an envelope is not opened.
func withoutEnvelope(m Message) (Message, error) {
	if isPublished(m) {
		return m, nil
	}
	m, err := fromTopic(m)
	if err != nil || isPublished(m) {
		return m, err
	}
	if put, found, err := fromBus(m.Body); found {
		return put, err
	}
	return m, nil // no envelope, so the missing attributes are the finding
}

// isPublished reports whether m has an attribute that the relay gives a message, in any format.
func isPublished(m Message) bool {
	return m.Attributes[outbox.AttributeEventID] != "" || m.Attributes[outbox.AttributeContentType] != "" || isBinary(m)
}

// fromTopic returns the message in a notification of SNS, or m if it is none.
func fromTopic(m Message) (Message, error) {
	var n notification
	if err := json.Unmarshal([]byte(m.Body), &n); err != nil || n.Type == "" || n.TopicArn == "" {
		return m, nil
	}
	if n.Type != "Notification" || n.Message == nil {
		return Message{}, errors.New("the body is a document of SNS and no notification with a message: " +
			"check that the relay sent it")
	}
	published := Message{Body: *n.Message, Attributes: map[string]string{}}
	for name, attribute := range n.MessageAttributes {
		if !strings.HasPrefix(attribute.Type, "Binary") {
			published.Attributes[name] = attribute.Value
		}
	}
	return published, nil
}
