package sqs

import (
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// appendJSON appends the body of a SendMessageBatch in AWS JSON 1.0.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
func appendJSON(text []byte, id sink.RequestID, queueURL string, fifo bool, batch []*sink.Message) []byte {
	text = appendMember(text, `{"QueueUrl":`, queueURL)
	text = append(text, `,"Entries":[`...)
	for i, m := range batch {
		if i > 0 {
			text = append(text, ',')
		}
		text = id.AppendEntry(append(text, `{"Id":"`...), i)
		text = appendMember(text, `","MessageBody":`, m.Body)
		// fairness between tenants of a standard queue, not order
		if group := m.MessageGroupID(fifo); group != "" {
			text = appendMember(text, `,"MessageGroupId":`, group)
		}
		if fifo {
			text = appendMember(text, `,"MessageDeduplicationId":`, m.DeduplicationID)
		}
		text = append(appendAttributes(text, m.Attributes), '}')
	}
	return append(text, `]}`...)
}

func appendAttributes(text []byte, attributes []sink.Attribute) []byte {
	separator := `,"MessageAttributes":{`
	for i := range attributes {
		a := &attributes[i]
		text = appendValue(appendMember(text, separator, a.Name), a)
		separator = ","
	}
	if len(attributes) > 0 {
		text = append(text, '}')
	}
	if a := trace(attributes); a != nil {
		text = append(text, `,"MessageSystemAttributes":{"AWSTraceHeader"`...)
		text = append(appendValue(text, a), '}')
	}
	return text
}

func appendValue(text []byte, a *sink.Attribute) []byte {
	text = append(append(text, `:{"DataType":"`...), a.DataType.String()...) // letters need no escape
	text = appendMember(text, `","StringValue":`, a.Value)
	return append(text, '}')
}

// escapes has, for each byte that needs an escape in a JSON string, the character after the
// backslash: a letter, or u for a number. Characters beyond ASCII are UTF-8 and stay as they are.
//
// https://www.rfc-editor.org/rfc/rfc8259#section-7
var escapes = func() (table [256]byte) {
	for c := range ' ' {
		table[c] = 'u'
	}
	table['\n'], table['\r'], table['\t'], table['"'], table['\\'] = 'n', 'r', 't', '"', '\\'
	return table
}()

// appendMember appends the text before a string, and the string, in pieces with capacity for the
// worst case. That takes less time than appending bytes.
func appendMember(text []byte, before, s string) []byte {
	const digits = "0123456789abcdef"
	const piece, longest = 256, len(`\u0000`)
	text = append(text, before...)
	text = append(text, '"')
	for len(s) > 0 {
		n := min(piece, len(s))
		text = slices.Grow(text, longest*n)
		room := text[len(text) : len(text)+longest*n]
		at := 0
		for i := range n {
			switch c, escape := s[i], escapes[s[i]]; escape {
			case 0:
				room[at] = c
				at++
			case 'u':
				at += copy(room[at:], `\u00`)
				room[at], room[at+1] = digits[c>>4], digits[c&15]
				at += 2
			default:
				room[at], room[at+1] = '\\', escape
				at += 2
			}
		}
		text, s = text[:len(text)+at], s[n:]
	}
	return append(text, '"')
}
