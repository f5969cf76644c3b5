package format

import (
	"mime"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// structured makes a message whose body is the CloudEvent. JSON data stays as it is, byte for byte.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
func (c *CloudEvents) structured(e *Event, context []pair) Message {
	var body strings.Builder
	body.Grow(1024 + len(e.Payload))
	declared := ""
	for i, a := range append(context, c.trace(e)...) {
		if a.name == contentType {
			declared = a.value
		}
		body.WriteByte("{,"[min(i, 1)])
		writeText(&body, a.name)
		body.WriteByte(':')
		writeText(&body, a.value)
	}
	switch {
	case e.Payload == "":
	case e.Base64:
		body.WriteString(`,"data_base64":`)
		writeText(&body, e.Payload)
	case !isJSON(declared):
		body.WriteString(`,"data":`)
		writeText(&body, e.Payload)
	case e.mediaType != typeJSON:
		return Message{Problem: "the payload is no JSON, and datacontenttype says that it is"}
	default:
		body.WriteString(`,"data":`)
		body.WriteString(e.Payload)
	}
	body.WriteByte('}')
	m := Message{Body: body.String()}
	m.add(outbox.AttributeContentType, outbox.ContentTypeCloudEvent)
	return m
}

// trace returns the attributes of the trace, except those that the settings set. A header that
// cannot be an attribute is none.
func (c *CloudEvents) trace(e *Event) (attributes []pair) {
	for _, header := range []pair{{traceParent, e.TraceParent}, {traceState, e.TraceState}} {
		if _, isSet := c.changed[header.name]; header.value != "" && isText(header.value) && !isSet {
			attributes = append(attributes, header)
		}
	}
	return attributes
}

// isJSON reports whether data of a media type is JSON. Data without a type is.
func isJSON(mediaType string) bool {
	name, _, err := mime.ParseMediaType(mediaType)
	return mediaType == "" || err == nil && (strings.HasSuffix(name, "/json") || strings.HasSuffix(name, "+json"))
}

// writeText writes text as a string of JSON.
func writeText(body *strings.Builder, text string) {
	const digits = "0123456789abcdef"
	body.WriteByte('"')
	from := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		body.WriteString(text[from:i])
		from = i + 1
		body.WriteByte('\\')
		if c < ' ' {
			body.WriteString("u00")
			body.WriteByte(digits[c>>4])
			c = digits[c&15]
		}
		body.WriteByte(c)
	}
	body.WriteString(text[from:])
	body.WriteByte('"')
}
