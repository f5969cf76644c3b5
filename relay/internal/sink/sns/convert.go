package sns

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

func (s *Sink) request(batch []*sink.Message) *sns.PublishBatchInput {
	entries := make([]types.PublishBatchRequestEntry, len(batch))
	for i, m := range batch {
		entries[i] = types.PublishBatchRequestEntry{
			Id:                aws.String(sink.EntryID(i)),
			Message:           &m.Body,
			MessageAttributes: attributes(m.Attributes),
			MessageGroupId:    &m.GroupID, // for the fair queues behind a standard topic
		}
		if s.limits.FIFO {
			entries[i].MessageDeduplicationId = &m.DeduplicationID
		}
	}
	return &sns.PublishBatchInput{TopicArn: &s.topicARN, PublishBatchRequestEntries: entries}
}

func attributes(list []sink.Attribute) map[string]types.MessageAttributeValue {
	values := make(map[string]types.MessageAttributeValue, len(list))
	for i := range list {
		values[list[i].Name] = types.MessageAttributeValue{DataType: &list[i].DataType, StringValue: &list[i].Value}
	}
	return values
}

func results(entries int, answer *sns.PublishBatchOutput) ([]sink.Result, error) {
	outcome := sink.NewAnswer(entries)
	for i := range answer.Successful {
		outcome.Set(aws.ToString(answer.Successful[i].Id), nil)
	}
	for i := range answer.Failed {
		f := &answer.Failed[i]
		outcome.Set(aws.ToString(f.Id), sink.ClassifyEntry(aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	return outcome.Results()
}
