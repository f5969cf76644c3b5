package sns

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"

	awsxml "github.com/aws/aws-sdk-go-v2/aws/protocol/xml"
	"github.com/aws/smithy-go"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// readAnswer returns the result of each entry of a PublishBatch. It reads an answer that accepts
// every message without a copy, and leaves any other to encoding/xml.
func readAnswer(answer *transport.Answer, id sink.RequestID, entries int) ([]sink.Result, error) {
	if answer.Status < 200 || answer.Status > 299 {
		return nil, readError(answer)
	}
	outcome := sink.NewAnswer(id, entries)
	if scan(answer.Body, func(entry, message []byte) {
		outcome.Accept(entry, sink.NewMessageID(message))
	}) == nil {
		return outcome.Results()
	}
	return decode(answer.Body, id, entries)
}

func decode(answer []byte, id sink.RequestID, entries int) ([]sink.Result, error) {
	var response struct {
		XMLName    xml.Name `xml:"PublishBatchResponse"`
		Successful []struct {
			ID        string `xml:"Id"`
			MessageID string `xml:"MessageId"`
		} `xml:"PublishBatchResult>Successful>member"`
		Failed []struct {
			ID      string `xml:"Id"`
			Code    string
			Message string
		} `xml:"PublishBatchResult>Failed>member"`
	}
	if err := xml.Unmarshal(answer, &response); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	outcome := sink.NewAnswer(id, entries)
	for _, e := range response.Successful {
		outcome.Accept([]byte(e.ID), sink.NewMessageID([]byte(e.MessageID)))
	}
	for _, e := range response.Failed {
		outcome.Set(e.ID, sink.ClassifyEntry(e.Code, e.Message))
	}
	return outcome.Results()
}

// readError returns the error of an answer, as the SDK reads it.
func readError(answer *transport.Answer) error {
	said, err := awsxml.GetErrorResponseComponents(bytes.NewReader(answer.Body), false)
	if err != nil {
		return answer.Error(said.RequestID, err)
	}
	code := cmp.Or(shapes[said.Code], said.Code, "UnknownError")
	return answer.Error(said.RequestID, &smithy.GenericAPIError{Code: code, Message: said.Message})
}

// shapes are the codes of the errors of PublishBatch, by the names of their shapes. SNS sends
// codes. For a broker that sends the name of the shape, the SDK returns the code.
//
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html#API_PublishBatch_Errors
var shapes = map[string]string{
	"AuthorizationErrorException":           "AuthorizationError",
	"BatchEntryIdsNotDistinctException":     "BatchEntryIdsNotDistinct",
	"BatchRequestTooLongException":          "BatchRequestTooLong",
	"EmptyBatchRequestException":            "EmptyBatchRequest",
	"EndpointDisabledException":             "EndpointDisabled",
	"InternalErrorException":                "InternalError",
	"InvalidBatchEntryIdException":          "InvalidBatchEntryId",
	"InvalidParameterException":             "InvalidParameter",
	"InvalidParameterValueException":        "ParameterValueInvalid",
	"InvalidSecurityException":              "InvalidSecurity",
	"KMSAccessDeniedException":              "KMSAccessDenied",
	"KMSDisabledException":                  "KMSDisabled",
	"KMSInvalidStateException":              "KMSInvalidState",
	"KMSNotFoundException":                  "KMSNotFound",
	"KMSThrottlingException":                "KMSThrottling",
	"NotFoundException":                     "NotFound",
	"PlatformApplicationDisabledException":  "PlatformApplicationDisabled",
	"ThrottledException":                    "Throttled",
	"TooManyEntriesInBatchRequestException": "TooManyEntriesInBatchRequest",
}
