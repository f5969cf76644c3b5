package inbox

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Names of a CloudEvent's attributes.
const (
	ceVersion       = "specversion"
	ceID            = "id"
	ceType          = "type"
	ceSubject       = "subject"
	ceTime          = "time"
	ceContentType   = "datacontenttype"
	ceSequence      = "sequence"
	ceAggregateType = "aggregatetype"
)

// cloudEvent is a CloudEvent, and the message attributes that are not part of it.
type cloudEvent struct {
	context map[string]string
	data    []byte
	others  map[string]string
}

// isBinary reports whether the attributes of m are the context of a CloudEvent. A message with the
// relay's own attributes is a plain one, and a producer wrote the context as headers.
func isBinary(m Message) bool {
	return m.Attributes[outbox.CloudEventPrefix+ceVersion] != "" && m.Attributes[outbox.AttributeEventID] == ""
}

// isOf reports whether a CloudEvent with this id is the event of m. With another event_id it is
// the payload of a plain message or in its headers, and a producer made it.
func isOf(m Message, id string) bool {
	eventID := m.Attributes[outbox.AttributeEventID]
	return eventID == "" || eventID == id
}

// isStructured reports whether the body of m is a CloudEvent. Its attributes say so. Without any
// attribute the body says it.
func isStructured(m Message) bool {
	if mediaType := m.Attributes[outbox.AttributeContentType]; mediaType != "" {
		name, _, _ := mime.ParseMediaType(mediaType)
		return name == outbox.ContentTypeCloudEvent && isOf(m, documentID(m.Body))
	}
	if m.Attributes[outbox.AttributeEventID] != "" {
		return false
	}
	var document struct {
		SpecVersion string `json:"specversion"`
	}
	return json.Unmarshal([]byte(m.Body), &document) == nil && document.SpecVersion != ""
}

// documentID returns the id of a CloudEvent in JSON, or "" if the body is none.
func documentID(body string) string {
	var document struct {
		ID string `json:"id"`
	}
	if json.Unmarshal([]byte(body), &document) != nil {
		return ""
	}
	return document.ID
}

// fromBinary reads a CloudEvent whose context is in attributes.
func fromBinary(m Message) (Event, error) {
	c := cloudEvent{context: map[string]string{}, data: []byte(m.Body), others: map[string]string{}}
	for name, value := range m.Attributes {
		if attribute, ok := strings.CutPrefix(name, outbox.CloudEventPrefix); ok {
			c.context[attribute] = value
		} else if name == outbox.AttributeContentType {
			c.context[ceContentType] = value
		} else {
			c.others[name] = value
		}
	}
	encoding := c.others[outbox.AttributePayloadEncoding]
	delete(c.others, outbox.AttributePayloadEncoding)
	var err error
	switch {
	case encoding == outbox.EncodingNull:
		c.data = nil
	case encoding == outbox.EncodingBase64:
		if c.data, err = base64.StdEncoding.DecodeString(m.Body); err != nil {
			return Event{}, errors.New("the body is no base64, and attribute payload_encoding says that it is")
		}
	case m.Body == "":
		return Event{}, errors.New("the body is empty")
	}
	return c.event()
}

// fromStructured reads a CloudEvent that is the body. The attributes that repeat its context are no
// headers. Those of order and aggregate take precedence over the context, because a producer may
// have written the CloudEvent as the payload of the event.
func fromStructured(m Message) (Event, error) {
	own := reader{left: maps.Clone(m.Attributes)}
	aggregateType, aggregateID := own.optional(outbox.AttributeAggregateType), own.optional(outbox.AttributeAggregateID)
	position := own.number(outbox.AttributeSequence)
	event, err := fromDocument(m)
	if err := errors.Join(err, own.err()); err != nil {
		return Event{}, err
	}
	if aggregateID != "" {
		event.AggregateType, event.AggregateID = aggregateType, aggregateID
	}
	event.Sequence = cmp.Or(position, event.Sequence)
	return event, nil
}

// fromDocument reads the CloudEvent in the body of m.
func fromDocument(m Message) (Event, error) {
	c := cloudEvent{context: map[string]string{}, others: maps.Clone(m.Attributes)}
	for _, name := range []string{
		outbox.AttributeEventID, outbox.AttributeEventType, outbox.AttributeAggregateType, outbox.AttributeAggregateID,
		outbox.AttributeOccurredAt, outbox.AttributeSequence, outbox.AttributeContentType,
	} {
		delete(c.others, name)
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal([]byte(m.Body), &document); err != nil {
		return Event{}, errors.New("the body is no JSON object, and attribute content-type says that it is a " +
			"CloudEvent")
	}
	data, encoded := document["data"], document["data_base64"]
	delete(document, "data")
	delete(document, "data_base64")
	for name, value := range document {
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value) // a number or a boolean
		}
		if string(value) != "null" {
			c.context[name] = text
		}
	}
	if err := c.read(data, encoded); err != nil {
		return Event{}, err
	}
	return c.event()
}

// read reads the data of a structured CloudEvent.
func (c *cloudEvent) read(data, encoded json.RawMessage) error {
	if encoded != nil {
		if err := json.Unmarshal(encoded, &c.data); err != nil {
			return errors.New("data_base64 of the CloudEvent is no base64")
		}
		return nil
	}
	var text string
	name, _, _ := mime.ParseMediaType(c.context[ceContentType])
	isJSON := name == "" || strings.HasSuffix(name, "/json") || strings.HasSuffix(name, "+json")
	if c.data = data; !isJSON && json.Unmarshal(data, &text) == nil {
		c.data = []byte(text)
	}
	return nil
}

// event returns the event. Attributes of the CloudEvent that have no field are headers, and so are
// the other attributes of the message.
func (c *cloudEvent) event() (Event, error) {
	r := reader{left: c.context}
	if version := r.required(ceVersion); version != "" && !strings.HasPrefix(version, "1.") {
		return Event{}, fmt.Errorf("it is a CloudEvent of version %s, want 1.0", quote(version))
	}
	event := Event{
		ID:            r.required(ceID),
		Type:          r.required(ceType),
		AggregateType: r.optional(ceAggregateType),
		AggregateID:   r.optional(ceSubject),
		OccurredAt:    r.time(ceTime),
		Sequence:      r.position(ceSequence),
		Payload:       c.data,
	}
	for _, name := range slices.Sorted(maps.Keys(c.others)) {
		if _, known := r.left[name]; !known {
			r.left[name] = c.others[name]
		}
	}
	if replay := r.number(outbox.AttributeReplay); replay != nil {
		event.Replay = *replay
	}
	if len(r.left) > 0 {
		event.Headers = r.left
	}
	if err := r.err(); err != nil {
		return Event{}, err
	}
	return event, nil
}

// position returns a sequence of the relay: 19 digits that sort as the numbers do. Those after a
// minus count from the lowest number. Any other text is a header.
func (r *reader) position(name string) *int64 {
	text := r.left[name]
	digits, isNegative := strings.CutPrefix(text, "-")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(digits) != 19 {
		return nil
	}
	delete(r.left, name)
	if isNegative {
		n += math.MinInt64
	}
	return &n
}
