// Package sink defines a destination: the relay publishes a batch of messages as one request and
// gets one result for each message.
package sink

import (
	"context"
	"slices"
	"time"
)

// MaxBatch is the maximum number of messages in a request, for SNS PublishBatch, SQS
// SendMessageBatch and EventBridge PutEvents alike.
const MaxBatch = 10

// DataType is the data type of an [Attribute].
type DataType uint8

// The data types that the relay sends.
const (
	String DataType = iota
	Number
)

// dataTypes are the names of AWS.
var dataTypes = [...]string{String: "String", Number: "Number"}

// String returns the name of AWS, or an empty string for another number.
func (t DataType) String() string {
	if int(t) >= len(dataTypes) {
		return ""
	}
	return dataTypes[t]
}

// ParseDataType returns the DataType with a name. [Validate] refuses the one of any other name.
func ParseDataType(name string) DataType {
	return DataType(slices.Index(dataTypes[:], name)) //nolint:gosec // -1 becomes a number without a name
}

// Attribute is one message attribute.
type Attribute struct {
	Name, Value string
	DataType    DataType
}

// Size returns the bytes of a as SNS and SQS count them.
func (a *Attribute) Size() int { return len(a.Name) + len(a.DataType.String()) + len(a.Value) }

// Message is one event as the relay sends it.
type Message struct {
	EventID    string
	Type       string // of the event, which is the detail-type at an event bus; may be empty
	Body       string
	Attributes []Attribute
	// Own is the number of attributes at the beginning that do not come from headers or further
	// columns. They are never dropped.
	Own     int
	GroupID string // MessageGroupId of FIFO destinations; never empty
	// MessageGroupId of standard destinations, for fair queues; none is sent if empty
	TenantID        string
	DeduplicationID string // MessageDeduplicationId; sent to FIFO destinations only
}

// MessageGroupID returns the MessageGroupId for a FIFO or standard destination. It is empty if none
// is sent.
func (m *Message) MessageGroupID(fifo bool) string {
	if fifo {
		return m.GroupID
	}
	return m.TenantID
}

// Size returns the bytes of the message as SNS and SQS count them: the body, and name, data type
// and value of each attribute.
func (m *Message) Size() int {
	size := len(m.Body)
	for i := range m.Attributes {
		size += m.Attributes[i].Size()
	}
	return size
}

// Limits are the limits of a destination when they were last read. Its kind never changes.
type Limits struct {
	FIFO            bool
	MaxMessageBytes int // of one message, counted as [Limits.Size]
	MaxBatchBytes   int // of all messages of one request together
	// OneLine says that no attribute may hold a tab or a line break. SNS accepts such a message.
	// Its filters read attributes as JSON strings, which hold neither, so the message may reach no
	// subscription.
	//
	// https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
	OneLine bool
	// Entry is how an event bus carries a message. It is nil for topics and queues.
	Entry *Entry
}

// Size returns the bytes of m as the destination counts them.
func (l *Limits) Size(m *Message) int {
	if l.Entry != nil {
		return l.Entry.Size(m)
	}
	return m.Size()
}

// Description has the attributes of a destination beyond its [Limits], when they were last read.
type Description struct {
	ARN                       string // whatever name the settings have
	ContentBasedDeduplication bool
	DeduplicationScope        string // of a FIFO queue: "queue" or "messageGroup"
	FifoThroughputLimit       string // of a FIFO queue: "perQueue" or "perMessageGroupId"
	FifoThroughputScope       string // of a FIFO topic: "Topic" or "MessageGroup"
	KMSKey                    string // empty without a customer managed key
	// Unsubscribed says that the topic has no confirmed subscription and archives no message: SNS
	// accepts each one and drops it.
	Unsubscribed bool
	// attributes that this broker omits and AWS always has: AWS' default is used
	Missing []string
	Hidden  bool // the owner of the bus lets this role put events and not read the bus
}

// Options configure the client of a sink.
type Options struct {
	// for one request, from dialling to the last byte of the answer; 0 means 10 seconds
	RequestTimeout time.Duration
	// concurrent requests, and the number of idle connections kept; 0 means 10
	InFlight int
	Client   Client // the client that publishes; empty means Direct
	Entry    Entry  // how event buses carry the messages
}

// Client names the code that writes the requests which publish and reads their answers. Requests,
// outcomes and errors are the same.
type Client string

// The clients.
const (
	Direct Client = "direct" // this repository's, for the three calls that publish, in a fraction of the time
	SDK    Client = "sdk"    // the AWS SDK's client, as for every other call
)

// Result is the outcome of one message of a batch. A nil Err means that it is durable at the
// broker. A [*RejectedError] means that the broker refuses this message for good. An
// [*AlteredError] means that it accepted another one. Any other error is transient.
type Result struct {
	Err       error
	MessageID MessageID // of an accepted message
}

// Sink is one destination: an SNS topic, an SQS queue or an EventBridge event bus.
type Sink interface {
	// Publish sends batch as one request. It returns a result for each message, in order, or an
	// error if no message has an outcome of its own. That is a [*RejectedError] if the broker
	// refused the request because of its messages. With any other error the outcome is unknown or
	// the fault is not the messages'.
	//
	// batch has at least one and at most [MaxBatch] messages, which together keep to Limits.
	// Publish does not retain it.
	Publish(ctx context.Context, batch []*Message) ([]Result, error)
	// Limits returns the limits that were last read, by Open or by ReadLimits.
	Limits() Limits
	// ReadLimits reads the limits again. They change while the relay runs. After an error the known
	// limits stay.
	ReadLimits(ctx context.Context) error
}
