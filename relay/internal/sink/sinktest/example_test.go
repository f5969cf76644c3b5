package sinktest_test

import (
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sinktest"
)

// A new sink is complete once sinktest.Run shows that it keeps these promises, on standard and on
// FIFO destinations.
func ExamplePromises() {
	for _, promise := range sinktest.Promises(sink.SQS) {
		fmt.Println(promise)
	}
	// Output:
	// a durable message arrives byte for byte, with its attributes
	// a message may have no tenant
	// a result has the message's id at the broker
	// ten messages of a group arrive in the order of their batch
	// a deduplication id counts on FIFO destinations only
	// a refused message leaves the others of its batch durable
	// a batch that is refused for one message is durable in no part
	// size limits are exact to the byte
	// the limit of a batch is exact to the byte
	// a changed limit is read again
	// a destination that is missing is retried
	// a destination that does not exist cannot be opened
	// the broker refuses each message that Validate refuses
	// the broker accepts each message that Validate accepts
}
