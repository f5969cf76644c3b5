package deadletter

import (
	"strings"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// message is the stored form of a message. The body is text, not JSON in JSON, so it stays as it
// is. JSON cannot hold bytes that are not UTF-8; BodyBytes has them.
type message struct {
	Body            text        `json:"body"`
	BodyBytes       []byte      `json:"body_base64,omitempty"`
	BodyLength      int         `json:"body_length,omitempty"` // in bytes, of a body that is shown shortened
	Attributes      []attribute `json:"attributes"`
	Own             int         `json:"own_attributes,omitempty"` // as in [sink.Message]
	GroupID         string      `json:"message_group_id"`
	TenantID        *string     `json:"tenant_id,omitempty"` // if it is not the group
	Type            *string     `json:"type,omitempty"`      // if it is not the attribute event_type
	DeduplicationID string      `json:"message_deduplication_id"`
}

type attribute struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Shorten leaves at most n bytes of the body, for an operator who wants to know why it is parked.
func (m *message) Shorten(n int) {
	whole := max(len(m.Body), len(m.BodyBytes))
	if whole <= n {
		return
	}
	m.BodyLength = whole
	m.Body = text(strings.ToValidUTF8(string(m.Body[:min(n, len(m.Body))]), ""))
	m.BodyBytes = m.BodyBytes[:min(n, len(m.BodyBytes))]
}

func newMessage(m *sink.Message) message {
	stored := message{
		Body: text(m.Body), Attributes: []attribute{}, Own: m.Own, GroupID: m.GroupID,
		DeduplicationID: m.DeduplicationID,
	}
	if m.TenantID != m.GroupID {
		stored.TenantID = &m.TenantID
	}
	if m.Type != typeOf(m) {
		stored.Type = &m.Type
	}
	if !utf8.ValidString(m.Body) {
		stored.Body, stored.BodyBytes = "", []byte(m.Body)
	}
	for _, a := range m.Attributes {
		kept := attribute{Name: a.Name, Type: a.DataType.String(), Value: a.Value}
		stored.Attributes = append(stored.Attributes, kept)
	}
	return stored
}

// message returns the message of the n-th redrive of a dead letter. A broker that got it before has
// its deduplication id, so each redrive has another one.
func (m message) message(eventID string, n int) sink.Message {
	message := sink.Message{
		EventID:         eventID,
		Body:            string(m.Body),
		Own:             m.Own,
		GroupID:         m.GroupID,
		TenantID:        m.GroupID,
		DeduplicationID: m.DeduplicationID,
	}
	if m.TenantID != nil {
		message.TenantID = *m.TenantID
	}
	if m.BodyBytes != nil {
		message.Body = string(m.BodyBytes)
	}
	if n > 0 {
		message.DeduplicationID = route.RedriveID(m.DeduplicationID, n)
	}
	for _, a := range m.Attributes {
		sent := sink.Attribute{Name: a.Name, DataType: sink.ParseDataType(a.Type), Value: a.Value}
		message.Attributes = append(message.Attributes, sent)
	}
	message.Type = typeOf(&message)
	if m.Type != nil {
		message.Type = *m.Type
	}
	return message
}

// typeOf returns the type of an event by its attributes.
func typeOf(m *sink.Message) string {
	for i := range m.Attributes {
		if a := &m.Attributes[i]; a.Name == outbox.AttributeEventType {
			return a.Value
		}
	}
	return ""
}
