package eventbridge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/schemas"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/awsjson"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

var putEvents = smithy.NewOperationSchema(schemas.PutEvents, schemas.PutEventsRequest, schemas.PutEventsResponse)

// answerReader reads the answers to PutEvents.
type answerReader struct{ sdk smithyhttp.ClientProtocol }

// read returns the result of each entry. It reads an answer that accepts every event without a
// copy, and leaves any other to the SDK.
func (r answerReader) read(ctx context.Context, answer *transport.Answer, entries int) ([]sink.Result, error) {
	if answer.Status == http.StatusOK {
		if results := scan(answer.Body, entries); results != nil {
			return results, nil
		}
	}
	var decoded eventbridge.PutEventsOutput
	err := r.sdk.DeserializeResponse(
		ctx,
		putEvents,
		eventbridge.TypeRegistry,
		&smithyhttp.Response{Response: &http.Response{
			StatusCode: answer.Status, Header: answer.Header(), Body: io.NopCloser(bytes.NewReader(answer.Body)),
		}},
		&decoded,
	)
	if err != nil {
		return nil, answer.Error("", err)
	}
	return results(entries, &decoded)
}

// scan reads the answer to a PutEvents that accepted this number of entries. It returns nil for any
// other answer.
func scan(answer []byte, entries int) []sink.Result {
	s, results := awsjson.NewScanner(answer), make([]sink.Result, 0, entries)
	err := s.Object(func(name []byte) error {
		switch string(name) {
		case "FailedEntryCount":
			return s.Zero()
		case "Entries":
			return s.Array(func() error {
				return s.Object(func(name []byte) error {
					id, err := s.Text()
					if string(name) != "EventId" || len(results) == entries || len(id) == 0 {
						return awsjson.ErrNotPlain
					}
					results = append(results, sink.Result{MessageID: sink.NewMessageID(id)})
					return err
				})
			})
		}
		return awsjson.ErrNotPlain
	})
	if err != nil || s.End() != nil || len(results) != entries {
		return nil
	}
	return results
}

// results returns the result of each entry of a request. An answer that has other entries, or
// contradicts itself, is an error of the whole request: a result belongs to an entry by its
// position alone.
func results(entries int, answer *eventbridge.PutEventsOutput) ([]sink.Result, error) {
	if n := len(answer.Entries); n != entries {
		return nil, &sink.Error{
			Origin: sink.OriginTransport,
			Code:   sink.CodeUnknownEntry,
			Reason: fmt.Sprintf("the answer has %d entries, %d were sent: it belongs to another request", n, entries),
		}
	}
	list, failed := make([]sink.Result, entries), 0
	for i := range answer.Entries {
		e := &answer.Entries[i]
		code, id := aws.ToString(e.ErrorCode), aws.ToString(e.EventId)
		switch {
		case code != "":
			failed++
			list[i].Err = failure(code, aws.ToString(e.ErrorMessage))
		case id == "":
			failed++
			list[i].Err = sink.EntryError("UnknownOutcome", "the answer has neither an id nor an error for the entry")
		default:
			list[i].MessageID = sink.NewMessageID([]byte(id))
		}
	}
	if count := int(answer.FailedEntryCount); count > failed {
		return nil, &sink.Error{
			Origin: sink.OriginTransport,
			Code:   "UnknownOutcome",
			Reason: fmt.Sprintf("the answer counts %d failed entries, and has %d", count, failed),
		}
	}
	return list, nil
}

// failure returns the outcome of an entry that failed. The quota is the account's, so a throttled
// entry says the same as a throttled request: the bus accepts less than the relay sends.
func failure(code, reason string) error {
	if sink.IsThrottleCode(code) {
		return sink.RequestError(http.StatusOK, code, reason, nil)
	}
	return sink.ClassifyEntry(code, reason)
}
