package sqs

import (
	"crypto/md5"
	"encoding/hex"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func (s *Sink) request(batch []*sink.Message) *sqs.SendMessageBatchInput {
	entries := make([]types.SendMessageBatchRequestEntry, len(batch))
	for i, m := range batch {
		entries[i] = types.SendMessageBatchRequestEntry{
			Id:                aws.String(sink.EntryID(i)),
			MessageBody:       &m.Body,
			MessageAttributes: attributes(m.Attributes),
			MessageGroupId:    &m.GroupID, // on a standard queue it asks for fairness between groups, not for order

			MessageSystemAttributes: systemAttributes(m.Attributes),
		}
		if s.limits.FIFO {
			entries[i].MessageDeduplicationId = &m.DeduplicationID
		}
	}
	return &sqs.SendMessageBatchInput{QueueUrl: &s.queueURL, Entries: entries}
}

func attributes(list []sink.Attribute) map[string]types.MessageAttributeValue {
	values := make(map[string]types.MessageAttributeValue, len(list))
	for i := range list {
		values[list[i].Name] = types.MessageAttributeValue{DataType: &list[i].DataType, StringValue: &list[i].Value}
	}
	return values
}

// traceHeader is a header of X-Ray in the form that services of AWS give it. Another one might be refused, and the message
// with it.
// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
var traceHeader = regexp.MustCompile(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24}(;Parent=[0-9a-f]{16})?(;Sampled=[01?])?(;Lineage=[0-9A-Za-z:.]+)?$`)

// systemAttributes carries the trace of X-Ray on, so that what a consumer on Lambda does belongs to it. It counts neither as
// one of the attributes nor in the size. A message through SNS has no place for one of its own.
// https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html
func systemAttributes(list []sink.Attribute) map[string]types.MessageSystemAttributeValue {
	for i := range list {
		if a := &list[i]; a.Name == outbox.HeaderXRay && traceHeader.MatchString(a.Value) {
			return map[string]types.MessageSystemAttributeValue{
				string(types.MessageSystemAttributeNameForSendsAWSTraceHeader): {DataType: &a.DataType, StringValue: &a.Value},
			}
		}
	}
	return nil
}

func results(batch []*sink.Message, answer *sqs.SendMessageBatchOutput) ([]sink.Result, error) {
	outcome := sink.NewAnswer(len(batch))
	checksums := make(map[string]string, len(batch))
	for i := range answer.Successful {
		id := aws.ToString(answer.Successful[i].Id)
		checksums[id] = aws.ToString(answer.Successful[i].MD5OfMessageBody)
		outcome.Set(id, nil)
	}
	for i := range answer.Failed {
		f := &answer.Failed[i]
		outcome.Set(aws.ToString(f.Id), sink.ClassifyEntry(aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	answers, err := outcome.Results()
	for i := range answers {
		if answers[i].Err == nil {
			answers[i].Err = compareChecksum(batch[i].Body, checksums[sink.EntryID(i)])
		}
	}
	return answers, err
}

// compareChecksum reports a body that the queue holds otherwise than it was sent. Sending it once more is right: the
// body is valid UTF-8 ([sink.Validate]), so that no encoder changed it here, and a consumer is owed the event as written.
func compareChecksum(body, answered string) error {
	sum := md5.Sum([]byte(body))
	var text [2 * md5.Size]byte
	hex.Encode(text[:], sum[:])
	if answered == string(text[:]) {
		return nil
	}
	return &sink.BrokerError{Code: "ChecksumMismatch", Reason: "the queue accepted the message with another body than was sent"}
}
