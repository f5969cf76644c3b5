package sqs

import (
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/awsjson"
)

// appendJSON appends the body of a SendMessageBatch in AWS JSON 1.0.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
func appendJSON(text []byte, id sink.RequestID, queueURL string, fifo bool, batch []*sink.Message) []byte {
	text = awsjson.AppendMember(text, `{"QueueUrl":`, queueURL)
	text = append(text, `,"Entries":[`...)
	for i, m := range batch {
		if i > 0 {
			text = append(text, ',')
		}
		text = id.AppendEntry(append(text, `{"Id":"`...), i)
		text = awsjson.AppendMember(text, `","MessageBody":`, m.Body)
		// fairness between tenants of a standard queue, not order
		if group := m.MessageGroupID(fifo); group != "" {
			text = awsjson.AppendMember(text, `,"MessageGroupId":`, group)
		}
		if fifo {
			text = awsjson.AppendMember(text, `,"MessageDeduplicationId":`, m.DeduplicationID)
		}
		text = append(appendAttributes(text, m.Attributes), '}')
	}
	return append(text, `]}`...)
}

func appendAttributes(text []byte, attributes []sink.Attribute) []byte {
	separator := `,"MessageAttributes":{`
	for i := range attributes {
		a := &attributes[i]
		text = appendValue(awsjson.AppendMember(text, separator, a.Name), a)
		separator = ","
	}
	if len(attributes) > 0 {
		text = append(text, '}')
	}
	if a := sink.Trace(attributes); a != nil {
		text = append(text, `,"MessageSystemAttributes":{"AWSTraceHeader"`...)
		text = append(appendValue(text, a), '}')
	}
	return text
}

func appendValue(text []byte, a *sink.Attribute) []byte {
	text = append(append(text, `:{"DataType":"`...), a.DataType.String()...) // letters need no escape
	text = awsjson.AppendMember(text, `","StringValue":`, a.Value)
	return append(text, '}')
}
