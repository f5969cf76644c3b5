package sqs

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// sdkPublisher publishes by the SDK's client.
type sdkPublisher struct {
	client   *sqs.Client
	requests *transport.Client
	queueURL string
	fifo     bool
}

func (p *sdkPublisher) publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	ctx, cancel := p.requests.Bound(ctx)
	defer cancel()
	id := sink.NewRequestID()
	answer, err := p.client.SendMessageBatch(ctx, p.request(id, batch),
		func(o *sqs.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		return nil, err
	}
	return results(id, batch, answer)
}

func (p *sdkPublisher) request(id sink.RequestID, batch []*sink.Message) *sqs.SendMessageBatchInput {
	entries := make([]types.SendMessageBatchRequestEntry, len(batch))
	for i, m := range batch {
		entries[i] = types.SendMessageBatchRequestEntry{
			Id:                aws.String(id.Entry(i)),
			MessageBody:       &m.Body,
			MessageAttributes: attributes(m.Attributes),

			MessageSystemAttributes: systemAttributes(m.Attributes),
		}
		// fairness between tenants of a standard queue, not order
		if group := m.MessageGroupID(p.fifo); group != "" {
			entries[i].MessageGroupId = &group
		}
		if p.fifo {
			entries[i].MessageDeduplicationId = &m.DeduplicationID
		}
	}
	return &sqs.SendMessageBatchInput{QueueUrl: &p.queueURL, Entries: entries}
}

func attributes(list []sink.Attribute) map[string]types.MessageAttributeValue {
	if len(list) == 0 {
		return nil
	}
	values := make(map[string]types.MessageAttributeValue, len(list))
	for i := range list {
		values[list[i].Name] = types.MessageAttributeValue{
			DataType: aws.String(list[i].DataType.String()), StringValue: &list[i].Value,
		}
	}
	return values
}

func systemAttributes(list []sink.Attribute) map[string]types.MessageSystemAttributeValue {
	a := sink.Trace(list)
	if a == nil {
		return nil
	}
	return map[string]types.MessageSystemAttributeValue{
		string(types.MessageSystemAttributeNameForSendsAWSTraceHeader): {
			DataType: aws.String(a.DataType.String()), StringValue: &a.Value,
		},
	}
}

func results(id sink.RequestID, batch []*sink.Message, answer *sqs.SendMessageBatchOutput) ([]sink.Result, error) {
	o := newOutcome(id, batch)
	for i := range answer.Successful {
		e := &answer.Successful[i]
		o.accepted(aws.ToString(e.Id), aws.ToString(e.MD5OfMessageBody),
			sink.NewMessageID([]byte(aws.ToString(e.MessageId))))
	}
	for i := range answer.Failed {
		f := &answer.Failed[i]
		o.Set(aws.ToString(f.Id), sink.ClassifyEntry(aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	return o.Results()
}
