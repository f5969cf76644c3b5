package sns

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// sdkPublisher publishes by the SDK's client.
type sdkPublisher struct {
	client   *sns.Client
	requests *transport.Client
	topicARN string
	fifo     bool
}

func (p *sdkPublisher) publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	ctx, cancel := p.requests.Bound(ctx)
	defer cancel()
	id := sink.NewRequestID()
	answer, err := p.client.PublishBatch(ctx, p.request(id, batch),
		func(o *sns.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		return nil, err
	}
	return results(id, len(batch), answer)
}

func (p *sdkPublisher) request(id sink.RequestID, batch []*sink.Message) *sns.PublishBatchInput {
	entries := make([]types.PublishBatchRequestEntry, len(batch))
	for i, m := range batch {
		entries[i] = types.PublishBatchRequestEntry{
			Id:                aws.String(id.Entry(i)),
			Message:           &m.Body,
			MessageAttributes: attributes(m.Attributes),
		}
		if group := m.MessageGroupID(p.fifo); group != "" { // for the fair queues behind a standard topic
			entries[i].MessageGroupId = &group
		}
		if p.fifo {
			entries[i].MessageDeduplicationId = &m.DeduplicationID
		}
	}
	return &sns.PublishBatchInput{TopicArn: &p.topicARN, PublishBatchRequestEntries: entries}
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

func results(id sink.RequestID, entries int, answer *sns.PublishBatchOutput) ([]sink.Result, error) {
	outcome := sink.NewAnswer(id, entries)
	for i := range answer.Successful {
		e := &answer.Successful[i]
		outcome.Accept([]byte(aws.ToString(e.Id)), sink.NewMessageID([]byte(aws.ToString(e.MessageId))))
	}
	for i := range answer.Failed {
		f := &answer.Failed[i]
		outcome.Set(aws.ToString(f.Id), sink.ClassifyEntry(aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	return outcome.Results()
}
