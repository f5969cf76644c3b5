package format

import "github.com/outbox-relay/outbox-relay/relay/outbox"

// binary makes a message whose body is the data. The attributes have the names of HTTP headers, so
// that the SDKs can read the message as they read a request: CloudEvents has no binding for SQS or
// SNS. If a message would have too many attributes, the last ones are dropped.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
func binary(e *Event, context []pair) Message {
	m := Message{Body: e.Payload}
	switch {
	case e.Payload == "":
		m.Body = "null"
		m.add(outbox.AttributePayloadEncoding, outbox.EncodingNull)
	case e.Base64:
		m.add(outbox.AttributePayloadEncoding, outbox.EncodingBase64)
	}
	for _, a := range context {
		if len(m.Attributes) == outbox.MaxAttributes {
			break
		}
		m.add(headerName(a.name), a.value)
	}
	return m
}

// headerName returns the name of an attribute in binary mode.
func headerName(name string) string {
	if name == contentType {
		return outbox.AttributeContentType
	}
	return outbox.CloudEventPrefix + name
}
