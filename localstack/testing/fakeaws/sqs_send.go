package fakeaws

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/queue"
)

const invalidCharacters = "Invalid characters found. Valid unicode characters are " +
	"#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"

// traceHeader is the only message system attribute that a sender may set: a trace header of X-Ray.
// It does not count towards the size.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_MessageSystemAttributeValue.html
const traceHeader = "AWSTraceHeader"

// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
var validTraceHeader = regexp.MustCompile(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24}(;[A-Z][a-z]+=[^;]+)*$`)

// send performs SendMessage and SendMessageBatch. As on AWS an invalid message fails its entry,
// except that a FIFO message without group or deduplication id fails the request.
func (s *Server) send(b *batch, p *plan) ([]result, error) {
	q, err := s.findQueue(b.target)
	if err != nil {
		return nil, err
	}
	if err := b.checkIDs(sqsError); err != nil {
		return nil, err
	}
	if size := b.size(); !b.single && size > maxMessageBytes {
		return nil, sqsError("BatchRequestTooLong",
			"Batch requests cannot be longer than %d bytes. You have sent %d bytes.",
			maxMessageBytes, size)
	}
	if err := q.checkFIFO(b); err != nil {
		return nil, err
	}
	results := make([]result, len(b.entries))
	for i := range b.entries {
		e := &b.entries[i]
		results[i].id = e.id
		if results[i].failure = p.entryFailure(i); results[i].failure == nil {
			results[i].failure = q.check(e)
		}
		if results[i].failure == nil {
			s.accept(q, e, &results[i])
		}
	}
	return results, nil
}

func (s *Server) accept(q *sqsQueue, e *entry, r *result) {
	m := &e.message
	m.ID = s.identify.uuid()
	if q.fifo && m.DeduplicationID == "" {
		m.DeduplicationID = contentHash(m.Body)
	}
	if e.delay != nil {
		m.Delay = time.Duration(*e.delay) * time.Second
	}
	r.bodyMD5, r.attributesMD5 = m.BodyMD5(), queue.AttributesMD5(m.Attributes)
	accepted := q.messages.Send(m)
	r.messageID, r.sequence = accepted.ID, accepted.SequenceNumber
}

// contentHash is the deduplication id under ContentBasedDeduplication, which depends on the body
// alone.
func contentHash(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// checkFIFO returns an error if a message to a FIFO queue has no group or deduplication id.
func (q *sqsQueue) checkFIFO(b *batch) error {
	if !q.fifo {
		return nil
	}
	for i := range b.entries {
		switch e := &b.entries[i]; {
		case !e.hasGroup:
			return sqsError("MissingRequiredParameterException",
				"The request must contain the parameter MessageGroupId.")
		case !e.hasDedup && !q.contentBasedDeduplication.Load():
			return invalidValue("The queue should either have ContentBasedDeduplication enabled or " +
				"MessageDeduplicationId provided explicitly")
		}
	}
	return nil
}

// check returns the error of an invalid message.
func (q *sqsQueue) check(e *entry) *apiError {
	m := &e.message
	if m.Body == "" {
		return sqsError("MissingRequiredParameterException", "The request must contain the parameter MessageBody.")
	}
	if !validText(m.Body) {
		return sqsError("InvalidMessageContents", invalidCharacters)
	}
	if err := checkSQSAttributes(m.Attributes); err != nil {
		return err
	}
	if m.TraceHeader != "" && !validTraceHeader.MatchString(m.TraceHeader) {
		return invalidValue("Value %s for message system attribute %s is invalid.", m.TraceHeader, traceHeader)
	}
	if limit := int(q.maxMessageBytes.Load()); m.Size() > limit {
		return invalidValue("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", limit)
	}
	return q.checkParameters(e)
}

func (q *sqsQueue) checkParameters(e *entry) *apiError {
	const otherType = "Value %s for parameter %s is invalid. Reason: The request include parameter that is not " +
		"valid for this queue type."
	const token = "Value %s for parameter %s is invalid. Reason: %[2]s can only include alphanumeric and punctuation " +
		"characters. 1 to 128 in length."
	switch m := &e.message; {
	case e.hasGroup && !validToken(m.GroupID):
		return invalidValue(token, m.GroupID, "MessageGroupId")
	case e.hasDedup && !q.fifo:
		return invalidValue(otherType, m.DeduplicationID, "MessageDeduplicationId")
	case e.hasDedup && !validToken(m.DeduplicationID):
		return invalidValue(token, m.DeduplicationID, "MessageDeduplicationId")
	case e.delay != nil && (*e.delay < 0 || *e.delay > 900):
		return invalidValue("Value %d for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and "+
			"<= 900.", *e.delay)
	case e.delay != nil && *e.delay > 0 && q.fifo:
		return invalidValue("Value %d for parameter DelaySeconds is invalid. Reason: The request include parameter "+
			"that is not valid for this queue type.", *e.delay)
	}
	return nil
}

// checkSQSAttributes applies the rules for message attributes.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
func checkSQSAttributes(attributes []Attribute) *apiError {
	if n := len(attributes); n > 10 {
		return invalidValue("Number of message attributes [%d] exceeds the allowed maximum [10].", n)
	}
	for i := range attributes {
		a := &attributes[i]
		switch {
		case !validAttributeName(a.Name):
			return invalidValue("Invalid message attribute name %q.", a.Name)
		case !validDataType(a.DataType):
			return invalidValue("The message attribute '%s' has an invalid message attribute type, the set of "+
				"supported type prefixes is Binary, Number, and String.", a.Name)
		case a.StringValue == "" && len(a.BinaryValue) == 0:
			return invalidValue("Message attribute '%s' must contain a non-empty value of type '%s'.", a.Name,
				a.DataType)
		case !validText(a.StringValue):
			return sqsError("InvalidMessageContents", invalidCharacters)
		case strings.HasPrefix(a.DataType, "Number") && !validNumber(a.StringValue):
			return invalidValue("Can't cast the value of message attribute '%s' to a number.", a.Name)
		}
	}
	return nil
}

func validText(text string) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] >= 0x80 {
			return validRunes(text[i:])
		}
	}
	return true
}

func validRunes(text string) bool {
	for _, r := range text {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return false
		}
	}
	return utf8.ValidString(text)
}
