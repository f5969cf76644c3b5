package demo

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
	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// shipPause is the pause between two looks at the table and at the queue.
const shipPause = 20 * time.Millisecond

// ship waits for the shipment of each order, sends each event to the queue of the shipments a
// second time, and checks that each order still has one shipment.
func (r *run) ship(ctx context.Context, client *sqs.Client) error {
	if len(r.events) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*r.Timeout) // a message of an interrupted demo may be invisible at first
	defer cancel()
	conn, err := pgx.Connect(ctx, r.DatabaseURL)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	orders := slices.Sorted(maps.Keys(r.events))
	err = await(ctx, "a shipment of each order", func() (done bool, err error) {
		shipped, _, err := shipments(ctx, conn, orders)
		return shipped == len(orders), err
	})
	if err != nil {
		return err
	}
	r.say("%s written by the function createshipment", counted(len(orders), "shipment"))
	if err := r.sendAgain(ctx, client, orders); err != nil {
		return err
	}
	err = await(ctx, "an empty queue of the shipments", func() (done bool, err error) {
		return isEmpty(ctx, client, r.ShipmentsQueueURL)
	})
	if err != nil {
		return err
	}
	shipped, rows, err := shipments(ctx, conn, orders)
	if err != nil {
		return err
	}
	if shipped != len(orders) || rows != len(orders) {
		return fmt.Errorf("%d shipments for %d of %d orders after each event arrived twice", rows, shipped, len(orders))
	}
	r.say("each event sent to the function a second time: still one shipment for each order")
	return nil
}

// shipments returns how many of the orders have a shipment, and the number of their shipments.
func shipments(ctx context.Context, conn *pgx.Conn, orders []string) (shipped, rows int, err error) {
	const question = `SELECT count(DISTINCT order_id), count(*) FROM shipments WHERE order_id = ANY ($1::uuid[])`
	err = conn.QueryRow(ctx, question, orders).Scan(&shipped, &rows)
	if err != nil {
		return 0, 0, fmt.Errorf("read the shipments: %w", err)
	}
	return shipped, rows, nil
}

func await(ctx context.Context, what string, look func() (done bool, err error)) error {
	for {
		done, err := look()
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-time.After(shipPause):
		}
	}
}

// sendAgain sends the received events to the queue of the shipments, as a replay would.
func (r *run) sendAgain(ctx context.Context, client *sqs.Client, orders []string) error {
	for batch := range slices.Chunk(orders, 10) {
		var entries []types.SendMessageBatchRequestEntry
		for i, id := range batch {
			one := r.events[id]
			entries = append(entries, types.SendMessageBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(one.body),
				MessageGroupId:         aws.String(id),
				MessageDeduplicationId: aws.String("again-" + one.eventID), // the queue drops a known id
				MessageAttributes: map[string]types.MessageAttributeValue{
					outbox.AttributeEventID:   text(one.eventID),
					outbox.AttributeEventType: text(one.eventType),
				},
			})
		}
		sent, err := client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{
			QueueUrl: aws.String(r.ShipmentsQueueURL), Entries: entries,
		})
		if err != nil {
			return fmt.Errorf("send the events a second time: %w", err)
		}
		for _, failed := range sent.Failed {
			return fmt.Errorf("send the events a second time: %s: %s", aws.ToString(failed.Code),
				aws.ToString(failed.Message))
		}
	}
	return nil
}

func text(value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(value)}
}

// isEmpty reports whether the queue has no message, also none that a consumer works on.
func isEmpty(ctx context.Context, client *sqs.Client, queue string) (bool, error) {
	names := []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	}
	got, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(queue), AttributeNames: names,
	})
	if err != nil {
		return false, fmt.Errorf("count the messages of the queue of the shipments: %w", err)
	}
	for _, name := range names {
		if got.Attributes[string(name)] != "0" {
			return false, nil
		}
	}
	return true, nil
}
