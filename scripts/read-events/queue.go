package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// batches calls do for the receipt handles of everything shown, ten at a time as SQS takes them.
func (r *reader) batches(do func(handles []string) error) error {
	for handles := range slices.Chunk(slices.Collect(maps.Values(r.shown)), 10) {
		if err := do(handles); err != nil {
			return err
		}
	}
	clear(r.shown)
	return nil
}

// delete deletes the printed messages. It finishes a started request when ctx ends.
func (r *reader) delete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return r.batches(func(handles []string) error {
		var entries []types.DeleteMessageBatchRequestEntry
		for i, handle := range handles {
			entries = append(entries, types.DeleteMessageBatchRequestEntry{
				Id:            aws.String(strconv.Itoa(i)),
				ReceiptHandle: aws.String(handle),
			})
		}
		deleted, err := r.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{
			QueueUrl: r.queue,
			Entries:  entries,
		})
		if err != nil {
			return fmt.Errorf("delete messages: %w", err)
		}
		for _, failed := range deleted.Failed {
			return fmt.Errorf("delete messages: %s: %s", aws.ToString(failed.Code), aws.ToString(failed.Message))
		}
		return nil
	})
}

// release makes the messages that were not deleted visible to other readers again. A message that
// has become visible by itself is no error.
func (r *reader) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return r.batches(func(handles []string) error {
		var entries []types.ChangeMessageVisibilityBatchRequestEntry
		for i, handle := range handles {
			entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id:            aws.String(strconv.Itoa(i)),
				ReceiptHandle: aws.String(handle),
			})
		}
		_, err := r.client.ChangeMessageVisibilityBatch(ctx,
			&sqs.ChangeMessageVisibilityBatchInput{QueueUrl: r.queue, Entries: entries})
		if err != nil {
			return fmt.Errorf("give messages back: %w", err)
		}
		return nil
	})
}
