package sns

import (
	"slices"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// appendForm appends the parameters of a PublishBatch in the Query protocol. They may come in any
// order.
//
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
func appendForm(form []byte, id sink.RequestID, topicARN string, fifo bool, batch []*sink.Message) []byte {
	form = append(form, "Action=PublishBatch&Version=2010-03-31&TopicArn="...)
	form = appendEscaped(form, topicARN)
	for i, m := range batch {
		form = id.AppendEntry(append(appendEntry(form, i), "Id="...), i)
		form = appendParameter(form, i, "Message=", m.Body)
		if group := m.MessageGroupID(fifo); group != "" { // for the fair queues behind a standard topic
			form = appendParameter(form, i, "MessageGroupId=", group)
		}
		if fifo {
			form = appendParameter(form, i, "MessageDeduplicationId=", m.DeduplicationID)
		}
		for k := range m.Attributes {
			form = appendAttribute(form, i, k, &m.Attributes[k])
		}
	}
	return form
}

func appendAttribute(form []byte, entry, k int, a *sink.Attribute) []byte {
	start := len(form)
	form = append(appendEntry(form, entry), "MessageAttributes.entry."...)
	form = append(strconv.AppendInt(form, int64(k+1), 10), '.')
	end := len(form) // three parameters begin with the bytes since start
	form = appendEscaped(append(form, "Name="...), a.Name)
	form = append(append(form, form[start:end]...), "Value.DataType="...)
	form = append(form, a.DataType.String()...) // letters need no escape
	form = append(append(form, form[start:end]...), "Value.StringValue="...)
	return appendEscaped(form, a.Value)
}

func appendParameter(form []byte, entry int, name, value string) []byte {
	form = appendEntry(form, entry)
	form = append(form, name...)
	return appendEscaped(form, value)
}

// appendEntry appends the beginning of a parameter of the entry at this position. Lists count from
// one.
func appendEntry(form []byte, position int) []byte {
	form = append(form, "&PublishBatchRequestEntries.member."...)
	form = strconv.AppendInt(form, int64(position+1), 10)
	return append(form, '.')
}

// unescaped are the bytes that need no escape in a form.
//
// https://url.spec.whatwg.org/#urlencoded-serializing
var unescaped = func() (table [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~") {
		table[c] = true
	}
	return table
}()

// appendEscaped appends text in pieces, each with capacity for the worst case. That takes a third
// of the time of appending bytes.
func appendEscaped(form []byte, text string) []byte {
	const digits = "0123456789ABCDEF"
	const piece = 256
	for len(text) > 0 {
		n := min(piece, len(text))
		form = slices.Grow(form, 3*n)
		room := form[len(form) : len(form)+3*n]
		at := 0
		for i := range n {
			c := text[i]
			if unescaped[c] {
				room[at] = c
				at++
				continue
			}
			room[at], room[at+1], room[at+2] = '%', digits[c>>4], digits[c&15]
			at += 3
		}
		form, text = form[:len(form)+at], text[n:]
	}
	return form
}
