// Package sink says what a destination is to the relay: a batch of messages goes in as one request, one result for
// each comes out.
package sink

import (
	"context"
	"time"
)

// MaxBatch is how many messages one request carries at most, for SNS PublishBatch and SQS SendMessageBatch alike.
const MaxBatch = 10

// Attribute is one message attribute. DataType is "String" or "Number".
type Attribute struct {
	Name, DataType, Value string
}

// Message is one event as it is sent.
type Message struct {
	EventID         string
	Body            string
	Attributes      []Attribute
	GroupID         string // MessageGroupId of FIFO destinations; never empty
	TenantID        string // MessageGroupId of standard destinations, for fair queues; none is sent if it is empty
	DeduplicationID string // MessageDeduplicationId; sent to FIFO destinations only
}

// MessageGroupID returns the MessageGroupId that goes to a FIFO or standard destination; empty if none does.
func (m *Message) MessageGroupID(fifo bool) string {
	if fifo {
		return m.GroupID
	}
	return m.TenantID
}

// Size returns the bytes of the message as AWS counts them: the body and, for each attribute, name, data type and value.
func (m *Message) Size() int {
	size := len(m.Body)
	for _, a := range m.Attributes {
		size += len(a.Name) + len(a.DataType) + len(a.Value)
	}
	return size
}

// Limits are what a destination said about itself when it was last read. Its kind never changes.
type Limits struct {
	FIFO            bool
	MaxMessageBytes int // of one message, counted as [Message.Size]
	MaxBatchBytes   int // of all messages of one request together
	// OneLine says that no attribute may hold a tab or a line break. SNS takes such a message. Its filters read attributes as
	// strings of JSON, which hold neither, so the message may reach no subscription.
	// https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
	OneLine bool
}

// Description is what a destination said about itself when it was last read, beyond its [Limits].
type Description struct {
	ARN                       string // however it was named
	ContentBasedDeduplication bool
	DeduplicationScope        string   // of a FIFO queue: "queue" or "messageGroup"
	FifoThroughputLimit       string   // of a FIFO queue: "perQueue" or "perMessageGroupId"
	FifoThroughputScope       string   // of a FIFO topic: "Topic" or "MessageGroup"
	KMSKey                    string   // empty when no key of the customer's is used
	Missing                   []string // attributes that AWS always gives and this one does not: AWS' default counts
}

// Options say how a sink talks to its broker.
type Options struct {
	RequestTimeout time.Duration // of one request, from dialling to the last byte of the answer; 0 means 10 seconds
	InFlight       int           // requests at the same time: so many idle connections are kept; 0 means 10
	Client         Client        // who writes the requests that publish; empty means Direct
}

// Client names who writes the requests that publish and reads their answers. Requests, outcomes and errors are the same.
type Client string

// The clients.
const (
	Direct Client = "direct" // this repository, for exactly two calls, in a fraction of the time
	SDK    Client = "sdk"    // the AWS SDK's client, as for every other call
)

// Result is the outcome for one message of a batch. A nil Err means durable at the broker; a [*RejectedError] means
// that the broker will never take this message, an [*AlteredError] that it took another one; any other error is worth
// another attempt.
type Result struct {
	Err error
}

// Sink is one destination: an SNS topic or an SQS queue.
type Sink interface {
	// Publish sends batch as one request. It returns a result for each message, in order, or an error when no message
	// has an outcome of its own: a [*RejectedError] when the broker refused the request for what is in it, any other
	// error when the outcome is unknown or the fault is not the messages'.
	//
	// batch has at least one and at most [MaxBatch] messages, which together keep to Limits. Publish does not retain it.
	Publish(ctx context.Context, batch []*Message) ([]Result, error)
	// Limits returns what the destination said about itself when it was last read: opened, or by ReadLimits.
	Limits() Limits
	// ReadLimits asks the destination for its Limits again. They change while the relay runs. After an error those that
	// are known stay.
	ReadLimits(ctx context.Context) error
}
