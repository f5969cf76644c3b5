package fakeaws

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/queue"
)

// receivedMessage is a message in the answer to ReceiveMessage.
type receivedMessage struct {
	MessageID              string                    `json:"MessageId"`
	ReceiptHandle          string                    `json:"ReceiptHandle"`
	MD5OfBody              string                    `json:"MD5OfBody"`
	Body                   string                    `json:"Body"`
	Attributes             map[string]string         `json:"Attributes,omitempty"`
	MD5OfMessageAttributes string                    `json:"MD5OfMessageAttributes,omitempty"`
	MessageAttributes      map[string]attributeValue `json:"MessageAttributes,omitempty"`
}

type attributeValue struct {
	DataType    string `json:"DataType"`
	StringValue string `json:"StringValue,omitempty"`
	BinaryValue []byte `json:"BinaryValue,omitempty"`
}

func (s *Server) receiveMessage(ctx context.Context, r *sqsRequest) (any, error) {
	q, err := s.findQueue(r.QueueURL)
	if err != nil {
		return nil, err
	}
	want, err := q.readReceive(r)
	if err != nil {
		return nil, err
	}
	messages := []receivedMessage{}
	for _, d := range q.messages.Receive(ctx, want) {
		messages = append(messages, s.render(&d, r))
	}
	if len(messages) == 0 {
		return nothing, nil
	}
	return map[string]any{"Messages": messages}, nil
}

func (q *sqsQueue) readReceive(r *sqsRequest) (queue.Request, error) {
	most, visibility := 1, -1
	if r.MaxNumberOfMessages != nil {
		most = *r.MaxNumberOfMessages
	}
	if r.VisibilityTimeout != nil {
		visibility = *r.VisibilityTimeout
	}
	q.mu.Lock()
	wait := seconds(q.attributes["ReceiveMessageWaitTimeSeconds"])
	q.mu.Unlock()
	if r.WaitTimeSeconds != nil {
		wait = *r.WaitTimeSeconds
	}
	switch {
	case most < 1 || most > 10:
		return queue.Request{}, outOfRange("MaxNumberOfMessages", most, "Must be between 1 and 10, if provided.")
	case visibility < -1 || visibility > 43200:
		return queue.Request{}, outOfRange("VisibilityTimeout", visibility, "Must be between 0 and 43200, if provided.")
	case wait < 0 || wait > 20:
		return queue.Request{}, outOfRange("WaitTimeSeconds", wait, "Must be >= 0 and <= 20, if provided.")
	}
	return queue.Request{
		Max: most, Visibility: time.Duration(visibility) * time.Second, Wait: time.Duration(wait) * time.Second,
	}, nil
}

func outOfRange(parameter string, value int, reason string) error {
	return invalidValue("Value %d for parameter %s is invalid. Reason: %s", value, parameter, reason)
}

func (s *Server) render(d *queue.Delivery, r *sqsRequest) receivedMessage {
	m := receivedMessage{MessageID: d.ID, ReceiptHandle: d.ReceiptHandle, MD5OfBody: d.BodyMD5(), Body: d.Body}
	m.Attributes = s.systemAttributes(d, append(r.MessageSystemAttributeNames, r.AttributeNames...))
	selected := selectAttributes(d.Attributes, r.MessageAttributeNames)
	if len(selected) == 0 {
		return m
	}
	m.MD5OfMessageAttributes = queue.AttributesMD5(selected)
	m.MessageAttributes = make(map[string]attributeValue, len(selected))
	for _, a := range selected {
		m.MessageAttributes[a.Name] = attributeValue{
			DataType: a.DataType, StringValue: a.StringValue,
			BinaryValue: a.BinaryValue,
		}
	}
	return m
}

func (s *Server) systemAttributes(d *queue.Delivery, names []string) map[string]string {
	if len(names) == 0 {
		return nil
	}
	all := map[string]string{
		"SenderId":                         s.options.Account,
		"SentTimestamp":                    strconv.FormatInt(d.SentAt.UnixMilli(), 10),
		"ApproximateReceiveCount":          strconv.Itoa(d.Receives),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(d.FirstReceived.UnixMilli(), 10),
		"MessageGroupId":                   d.GroupID,
		"MessageDeduplicationId":           d.DeduplicationID,
		"SequenceNumber":                   d.SequenceNumber,
		"DeadLetterQueueSourceArn":         d.DeadLetterFrom,
		traceHeader:                        d.TraceHeader,
	}
	for name, value := range all {
		if value == "" || !slices.Contains(names, "All") && !slices.Contains(names, name) {
			delete(all, name)
		}
	}
	return all
}

// selectAttributes returns the attributes that names select: by name, "All", ".*", or "prefix.*".
func selectAttributes(attributes []Attribute, names []string) []Attribute {
	var selected []Attribute
	for _, a := range attributes {
		wanted := slices.ContainsFunc(names, func(name string) bool {
			prefix, isPrefix := strings.CutSuffix(name, ".*")
			return name == "All" || name == a.Name || isPrefix && strings.HasPrefix(a.Name, prefix)
		})
		if wanted {
			selected = append(selected, a)
		}
	}
	return selected
}

func (s *Server) deleteMessage(r *sqsRequest) (any, error) {
	q, err := s.findQueue(r.QueueURL)
	if err != nil {
		return nil, err
	}
	if err := handleError(q.messages.Delete(r.ReceiptHandle), r.ReceiptHandle); err != nil {
		return nil, err
	}
	return nothing, nil
}

func (s *Server) changeMessageVisibility(r *sqsRequest) (any, error) {
	q, err := s.findQueue(r.QueueURL)
	if err != nil {
		return nil, err
	}
	if err := q.changeVisibility(r.ReceiptHandle, r.VisibilityTimeout); err != nil {
		return nil, err
	}
	return nothing, nil
}

func (q *sqsQueue) changeVisibility(handle string, timeout *int) error {
	if timeout == nil || *timeout < 0 || *timeout > 43200 {
		return invalidValue("Value for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200.")
	}
	return handleError(q.messages.ChangeVisibility(handle, time.Duration(*timeout)*time.Second), handle)
}

// handleError converts an error about a receipt handle to the client's view.
func handleError(err error, handle string) error {
	switch {
	case errors.Is(err, queue.ErrReceiptHandle):
		return sqsError("ReceiptHandleIsInvalid", "The input receipt handle %q is not a valid receipt handle.", handle)
	case errors.Is(err, queue.ErrNotInFlight):
		return invalidValue("Value %s for parameter ReceiptHandle is invalid. Reason: Message does not exist or is "+
			"not available for visibility timeout change.", handle)
	}
	return err
}

// handleBatch performs DeleteMessageBatch and ChangeMessageVisibilityBatch, with one as the action
// for an entry.
func (s *Server) handleBatch(r *sqsRequest, one func(*sqsQueue, handleEntry) error) (any, error) {
	q, err := s.findQueue(r.QueueURL)
	if err != nil {
		return nil, err
	}
	ids := &batch{entries: make([]entry, len(r.Entries))}
	for i, e := range r.Entries {
		ids.entries[i].id = e.ID
	}
	if err := ids.checkIDs(sqsError); err != nil {
		return nil, err
	}
	successful, failed := []map[string]any{}, []map[string]any{}
	for _, e := range r.Entries {
		var refused *apiError
		if !errors.As(one(q, e), &refused) {
			successful = append(successful, map[string]any{"Id": e.ID})
			continue
		}
		failed = append(failed, map[string]any{
			"Id": e.ID, "Code": cmp.Or(refused.code, "InternalError"), "Message": refused.message, "SenderFault": true,
		})
	}
	return map[string]any{"Successful": successful, "Failed": failed}, nil
}

func deleteEntry(q *sqsQueue, e handleEntry) error {
	return handleError(q.messages.Delete(e.ReceiptHandle), e.ReceiptHandle)
}

func changeEntry(q *sqsQueue, e handleEntry) error {
	return q.changeVisibility(e.ReceiptHandle, e.VisibilityTimeout)
}
