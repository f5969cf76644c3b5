package fakeaws

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/queue"
)

// publish performs Publish and PublishBatch. As on AWS, one invalid message refuses the whole
// request.
func (s *Server) publish(b *batch, p *plan) ([]result, error) {
	t, err := s.findTopic(b.target)
	if err != nil {
		return nil, err
	}
	if err := b.checkIDs(snsError); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(b); err != nil {
		return nil, err
	}
	results := make([]result, len(b.entries))
	for i := range b.entries {
		r := &results[i]
		r.id = b.entries[i].id
		if r.failure = p.entryFailure(i); r.failure == nil {
			accepted := s.fanOut(t, &b.entries[i].message)
			r.messageID, r.sequence = accepted.ID, accepted.SequenceNumber
		}
	}
	return results, nil
}

// check returns the error of an invalid request to t.
func (t *topic) check(b *batch) error {
	for i := range b.entries {
		if err := t.checkEntry(&b.entries[i]); err != nil {
			return err
		}
	}
	limit := defaultTopicMessageBytes
	if text := t.attributes["MaximumMessageSize"]; text != "" {
		limit = seconds(text)
	}
	switch size := b.size(); {
	case size <= limit:
		return nil
	case b.single:
		return invalidParameter("Message too long")
	}
	return snsError("BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
}

func (t *topic) checkEntry(e *entry) error {
	m := &e.message
	switch {
	case m.Body == "":
		return invalidParameter("Empty message")
	case t.fifo && !e.hasGroup:
		return invalidParameter("The MessageGroupId parameter is required for FIFO topics")
	case t.fifo && !e.hasDedup && t.attributes["ContentBasedDeduplication"] != "true":
		return invalidParameter("The topic should either have ContentBasedDeduplication enabled or " +
			"MessageDeduplicationId provided explicitly")
	case !t.fifo && e.hasDedup:
		return invalidParameter("MessageDeduplicationId Reason: The request includes MessageDeduplicationId " +
			"parameter that is not valid for this topic type")
	case e.hasGroup && !validToken(m.GroupID):
		return invalidParameter("MessageGroupId Reason: MessageGroupId can only include alphanumeric and " +
			"punctuation characters. 1 to 128 in length.")
	case e.hasDedup && !validToken(m.DeduplicationID):
		return invalidParameter("MessageDeduplicationId Reason: MessageDeduplicationId can only include " +
			"alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	if err := checkSNSAttributes(m.Attributes); err != nil {
		return err
	}
	return e.applyStructure()
}

// checkSNSAttributes applies the rules for message attributes. Unlike SQS, SNS accepts more than
// ten. https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
func checkSNSAttributes(attributes []Attribute) error {
	for i := range attributes {
		a := &attributes[i]
		base, label, _ := strings.Cut(a.DataType, ".")
		switch {
		case !validAttributeName(a.Name):
			return snsError("ParameterValueInvalid", "Invalid message attribute name %q.", a.Name)
		case !validDataType(a.DataType):
			return snsError("ParameterValueInvalid",
				"The message attribute '%s' has an invalid message attribute type, "+
					"the set of supported type prefixes is Binary, Number, and String.", a.Name)
		case a.StringValue == "" && len(a.BinaryValue) == 0:
			return snsError("ParameterValueInvalid",
				"The message attribute '%s' must contain non-empty message attribute "+
					"value for message attribute type '%s'.", a.Name, a.DataType)
		case base == "Number" && !validNumber(a.StringValue):
			return snsError("ParameterValueInvalid", "Could not cast message attribute '%s' value to number.", a.Name)
		case a.DataType == "String."+label && label == "Array" && !json.Valid([]byte(a.StringValue)):
			return snsError("ParameterValueInvalid", "The message attribute '%s' is not a JSON array.", a.Name)
		}
	}
	return nil
}

// applyStructure selects the text for queues if MessageStructure says that the body has a text for
// each protocol. Such a message loses its attributes.
func (e *entry) applyStructure() error {
	if e.structure == "" {
		return nil
	}
	var bodies map[string]string
	if e.structure != "json" || json.Unmarshal([]byte(e.message.Body), &bodies) != nil || bodies["default"] == "" {
		return invalidParameter("Message Structure - No default entry in JSON message body")
	}
	e.message.Body, e.message.Attributes = bodies["default"], nil
	if body := bodies["sqs"]; body != "" {
		e.message.Body = body
	}
	return nil
}

// fanOut accepts m and delivers it to the subscriptions of t. It returns m, or the message that m
// repeats. The caller holds t.mu.
func (s *Server) fanOut(t *topic, m *Message) *Message {
	m.ID, m.SentAt = s.identify.uuid(), s.options.Now()
	if t.fifo {
		if m.DeduplicationID == "" {
			m.DeduplicationID = contentHash(m.Body)
		}
		byGroup := t.attributes["FifoThroughputScope"] == "MessageGroup"
		if earlier := t.seen.Repeats(m, byGroup, m.SentAt); earlier != nil {
			t.journal.add(m, true)
			return earlier
		}
		m.SequenceNumber = s.identify.sequenceNumber()
	}
	t.journal.add(m, false)
	for _, sub := range t.subscriptions {
		if sub.policy.Match(m.Attributes) {
			s.deliver(t, sub, m)
		}
	}
	return m
}

// deliver sends m to the queue of sub, or to the subscription's dead-letter queue if that queue
// refuses it.
func (s *Server) deliver(t *topic, sub *subscription, m *Message) {
	delivered := &Message{
		ID: s.identify.uuid(), Body: m.Body, Attributes: m.Attributes, GroupID: m.GroupID,
		DeduplicationID: m.DeduplicationID,
	}
	if !sub.raw {
		delivered.Body, delivered.Attributes = s.envelope(t, sub, m), nil
	}
	q := s.queueByARN(sub.queueARN)
	if !q.takes(delivered) {
		q = s.queueByARN(sub.deadLetterARN)
	}
	if q == nil {
		return // as on AWS, the publisher is not notified
	}
	if !q.fifo {
		delivered.DeduplicationID = ""
		if t.fifo { // a FIFO topic does not forward the group to a standard queue
			delivered.GroupID = ""
		}
	}
	q.messages.Send(delivered)
}

// takes reports whether q, which may be nil, accepts a message from a topic.
func (q *sqsQueue) takes(m *Message) bool {
	return q != nil && validText(m.Body) && checkSQSAttributes(m.Attributes) == nil &&
		m.Size() <= int(q.maxMessageBytes.Load())
}

// envelope returns the JSON document for a subscription without raw delivery.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
func (s *Server) envelope(t *topic, sub *subscription, m *Message) string {
	type value struct{ Type, Value string }
	document := struct {
		Type, MessageId, TopicArn string
		SequenceNumber            string `json:",omitempty"`
		Subject                   string `json:",omitempty"`
		Message, Timestamp        string
		SignatureVersion          string           `json:",omitempty"`
		UnsubscribeURL            string           `json:",omitempty"`
		MessageAttributes         map[string]value `json:",omitempty"`
	}{
		Type: "Notification", MessageId: m.ID, TopicArn: t.arn, SequenceNumber: m.SequenceNumber, Subject: m.Subject,
		Message: m.Body, Timestamp: m.SentAt.UTC().Format("2006-01-02T15:04:05.000Z"), SignatureVersion: "1",
		UnsubscribeURL: s.url + "/?Action=Unsubscribe&SubscriptionArn=" +
			sub.arn, MessageAttributes: map[string]value{},
	}
	for i := range m.Attributes {
		a := &m.Attributes[i]
		document.MessageAttributes[a.Name] = value{a.DataType, attributeText(a)}
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // like SNS, and shorter
	if err := encoder.Encode(document); err != nil {
		return "" // cannot fail for strings
	}
	return strings.TrimSuffix(text.String(), "\n")
}

func attributeText(a *queue.Attribute) string {
	if a.BinaryValue == nil {
		return a.StringValue
	}
	return base64.StdEncoding.EncodeToString(a.BinaryValue)
}
