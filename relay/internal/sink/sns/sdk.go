package sns

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// sdkPublisher publishes by the SDK's client.
type sdkPublisher struct {
	client   *sns.Client
	topicARN string
	fifo     bool
}

func (p *sdkPublisher) publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	id := sink.NewRequestID()
	answer, err := p.client.PublishBatch(ctx, p.request(id, batch), func(o *sns.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		return nil, withCode(err)
	}
	return results(id, len(batch), answer)
}

// withCode gives an error answer that has no error in its body the code that it has for the SDK elsewhere. The SDK's reader
// of SNS answers reports io.EOF for it, which would count as a connection that broke.
func withCode(err error) error {
	answered, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || answered.HTTPStatusCode() < http.StatusMultipleChoices {
		return err
	}
	if unread, ok := errors.AsType[*smithy.DeserializationError](answered.Err); ok && unread.Err == io.EOF {
		answered.Err = &smithy.GenericAPIError{Code: "UnknownError"}
	}
	return err
}

func (p *sdkPublisher) request(id sink.RequestID, batch []*sink.Message) *sns.PublishBatchInput {
	entries := make([]types.PublishBatchRequestEntry, len(batch))
	for i, m := range batch {
		entries[i] = types.PublishBatchRequestEntry{
			Id:                aws.String(id.Entry(i)),
			Message:           &m.Body,
			MessageAttributes: attributes(m.Attributes),
			MessageGroupId:    &m.GroupID, // for the fair queues behind a standard topic
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
		values[list[i].Name] = types.MessageAttributeValue{DataType: &list[i].DataType, StringValue: &list[i].Value}
	}
	return values
}

func results(id sink.RequestID, entries int, answer *sns.PublishBatchOutput) ([]sink.Result, error) {
	outcome := sink.NewAnswer(id, entries)
	for i := range answer.Successful {
		outcome.Set(aws.ToString(answer.Successful[i].Id), nil)
	}
	for i := range answer.Failed {
		f := &answer.Failed[i]
		outcome.Set(aws.ToString(f.Id), sink.ClassifyEntry(aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	return outcome.Results()
}
