package queue

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Attribute is one message attribute.
type Attribute struct {
	Name, DataType string
	StringValue    string
	BinaryValue    []byte // of a Binary attribute
}

// Message is a message that a destination accepted. It is immutable.
type Message struct {
	ID              string
	Body            string
	Subject         string // only of a message that was published to a topic
	Attributes      []Attribute
	GroupID         string
	DeduplicationID string
	SequenceNumber  string // only of a FIFO destination
	SentAt          time.Time
	Delay           time.Duration // before the message becomes visible for the first time
	DeadLetterFrom  string        // ARN of the queue that moved it to its dead-letter queue
	Sender          string        // access key id of the request
	TraceHeader     string        // AWSTraceHeader
}

// Size returns the size of the message as AWS counts it: the body and, for each attribute, name,
// data type and value.
func (m *Message) Size() int {
	size := len(m.Body)
	for i := range m.Attributes {
		a := &m.Attributes[i]
		size += len(a.Name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
	}
	return size
}

// BodyMD5 returns MD5OfMessageBody.
func (m *Message) BodyMD5() string {
	sum := md5.Sum([]byte(m.Body))
	return hexText(&sum)
}

// AttributesMD5 returns MD5OfMessageAttributes of attributes, or an empty string without
// attributes.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
func AttributesMD5(attributes []Attribute) string {
	if len(attributes) == 0 {
		return ""
	}
	byName := func(a, b Attribute) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(attributes, byName) {
		attributes = slices.Clone(attributes)
		slices.SortFunc(attributes, byName)
	}
	text := make([]byte, 0, 1024) // stays on the stack unless it grows
	for i := range attributes {
		text = attributes[i].appendDigest(text)
	}
	sum := md5.Sum(text)
	return hexText(&sum)
}

// appendDigest appends name, data type and value, each preceded by its length, which is the input
// of the checksum.
func (a *Attribute) appendDigest(b []byte) []byte {
	b = appendCounted(b, a.Name)
	b = appendCounted(b, a.DataType)
	if strings.HasPrefix(a.DataType, "Binary") {
		b = append(b, 2)
		b = binary.BigEndian.AppendUint32(b, uint32(len(a.BinaryValue)))
		return append(b, a.BinaryValue...)
	}
	return appendCounted(append(b, 1), a.StringValue)
}

func appendCounted(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func hexText(sum *[md5.Size]byte) string {
	var text [2 * md5.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}
