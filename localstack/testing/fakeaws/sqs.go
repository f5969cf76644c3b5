package fakeaws

import (
	"context"
	"encoding/json"
	"strconv"
)

// sqsRequest holds the members of every action of SQS that does not send.
type sqsRequest struct {
	QueueURL                    string            `json:"QueueUrl"`
	QueueName                   string            `json:"QueueName"`
	QueueNamePrefix             string            `json:"QueueNamePrefix"`
	QueueOwnerAWSAccountID      string            `json:"QueueOwnerAWSAccountId"`
	Attributes                  map[string]string `json:"Attributes"`
	AttributeNames              []string          `json:"AttributeNames"`
	MessageSystemAttributeNames []string          `json:"MessageSystemAttributeNames"`
	MessageAttributeNames       []string          `json:"MessageAttributeNames"`
	MaxNumberOfMessages         *int              `json:"MaxNumberOfMessages"`
	VisibilityTimeout           *int              `json:"VisibilityTimeout"`
	WaitTimeSeconds             *int              `json:"WaitTimeSeconds"`
	ReceiptHandle               string            `json:"ReceiptHandle"`
	Entries                     []handleEntry     `json:"Entries"`
}

// handleEntry is an entry of DeleteMessageBatch or ChangeMessageVisibilityBatch.
type handleEntry struct {
	ID                string `json:"Id"`
	ReceiptHandle     string `json:"ReceiptHandle"`
	VisibilityTimeout *int   `json:"VisibilityTimeout"`
}

// nothing is the answer of an action without a result.
var nothing = struct{}{}

// callSQS decodes the request of an SQS action.
func (s *Server) callSQS(ctx context.Context, action, body string) (*call, error) {
	switch action {
	case "SendMessage":
		b, err := decodeSend(body)
		return s.sendCall(action, b, encodeSend), serializationError(err)
	case "SendMessageBatch":
		b, err := decodeSendBatch(body)
		return s.sendCall(action, b, encodeSendBatch), serializationError(err)
	}
	var r sqsRequest
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return nil, serializationError(err)
	}
	destination := r.QueueName
	if destination == "" {
		destination = nameOf(r.QueueURL)
	}
	return &call{action: action, destination: destination, perform: func(*plan) ([]byte, error) {
		output, err := s.performSQS(ctx, action, &r)
		if err != nil {
			return nil, err
		}
		return json.Marshal(output)
	}}, nil
}

func (s *Server) sendCall(action string, b *batch, encode func([]result) ([]byte, error)) *call {
	return &call{action: action, destination: nameOf(b.target), batch: b, perform: func(p *plan) ([]byte, error) {
		results, err := s.send(b, p)
		if err != nil {
			return nil, err
		}
		return encode(p.edit(results))
	}}
}

func serializationError(err error) error {
	if err == nil {
		return nil
	}
	return sqsError("SerializationException", "the request is not what the action takes: %v", err)
}

func (s *Server) performSQS(ctx context.Context, action string, r *sqsRequest) (any, error) {
	switch action {
	case "CreateQueue":
		return s.createQueue(r)
	case "DeleteQueue":
		return s.deleteQueue(r)
	case "GetQueueUrl":
		return s.getQueueURL(r)
	case "ListQueues":
		return s.listQueues(r)
	case "PurgeQueue":
		return s.purgeQueue(r)
	case "GetQueueAttributes":
		return s.getQueueAttributes(r)
	case "SetQueueAttributes":
		return s.setQueueAttributes(r)
	case "ReceiveMessage":
		return s.receiveMessage(ctx, r)
	case "DeleteMessage":
		return s.deleteMessage(r)
	case "DeleteMessageBatch":
		return s.handleBatch(r, deleteEntry)
	case "ChangeMessageVisibility":
		return s.changeMessageVisibility(r)
	case "ChangeMessageVisibilityBatch":
		return s.handleBatch(r, changeEntry)
	}
	return nil, sqsError("UnknownOperationException", "fakeaws does not know the SQS action %s", action)
}

// encodeSend returns the body of the answer to a SendMessage, in which a failure is always an
// error.
func encodeSend(results []result) ([]byte, error) {
	r := results[0]
	if r.failure != nil {
		return nil, r.failure
	}
	b := append([]byte(nil), '{')
	b = appendAccepted(b, &r)
	return append(b, '}'), nil
}

// encodeSendBatch returns the body of the answer to a SendMessageBatch.
func encodeSendBatch(results []result) ([]byte, error) {
	b := make([]byte, 0, 64+256*len(results))
	b = append(b, `{"Successful":[`...)
	failed := 0
	for i := range results {
		if results[i].failure != nil {
			failed++
			continue
		}
		b = append(separate(b), `{"Id":`...)
		b = strconv.AppendQuote(b, results[i].id)
		b = append(b, ',')
		b = append(appendAccepted(b, &results[i]), '}')
	}
	b = append(b, ']')
	if failed > 0 {
		b = appendFailed(append(b, `,"Failed":[`...), results)
		b = append(b, ']')
	}
	return append(b, '}'), nil
}

// separate appends a comma unless b ends with the start of a list.
func separate(b []byte) []byte {
	if b[len(b)-1] == '[' {
		return b
	}
	return append(b, ',')
}

func appendAccepted(b []byte, r *result) []byte {
	b = append(append(b, `"MessageId":"`...), r.messageID...)
	if r.bodyMD5 != "" {
		b = append(append(b, `","MD5OfMessageBody":"`...), r.bodyMD5...)
	}
	if r.attributesMD5 != "" {
		b = append(append(b, `","MD5OfMessageAttributes":"`...), r.attributesMD5...)
	}
	if r.sequence != "" {
		b = append(append(b, `","SequenceNumber":"`...), r.sequence...)
	}
	return append(b, '"')
}

func appendFailed(b []byte, results []result) []byte {
	for i := range results {
		f := results[i].failure
		if f == nil {
			continue
		}
		element, err := json.Marshal(map[string]any{
			"Id": results[i].id, "Code": f.code, "Message": f.message, "SenderFault": !f.receiver,
		})
		if err != nil { // cannot fail for strings and a boolean
			continue
		}
		b = append(separate(b), element...)
	}
	return b
}
