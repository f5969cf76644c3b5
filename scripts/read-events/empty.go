package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// explainEmptiness tells why there is nothing to show if the queue has no visible message.
func (r *reader) explainEmptiness(ctx context.Context, notes io.Writer) error {
	const visible, received = types.QueueAttributeNameApproximateNumberOfMessages,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible
	got, err := r.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: r.queue, AttributeNames: []types.QueueAttributeName{visible, received},
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the queue: %w", err)
	}
	held, err := strconv.Atoi(got.Attributes[string(received)])
	switch {
	case err != nil || got.Attributes[string(visible)] != "0":
		return nil // the events explain themselves
	case held > 0:
		fmt.Fprintf(notes, "the queue has no visible message: another reader has received %d and not deleted them. "+
			"They become visible again when it gives them back, or after their visibility timeout (%s for those of "+
			"read-events)\n", held, hidden)
	default:
		fmt.Fprintln(notes, "the queue is empty: make demo and DELETE=1 delete the events that they read. "+
			"Post an order at make api, or insert an event, and its message appears here")
	}
	return nil
}
