package sink

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
)

// refusals are the codes by which a broker refuses a request or an entry because of its content.
// The relay retries every other code forever. A relay that is stuck and says so is better than an
// event that is lost to a code with another meaning. So ThrottlingException, KMSThrottling,
// KmsThrottled, OverLimit, InternalError, ExpiredToken, RequestTimeTooSkewed, AccessDenied,
// AuthorizationError, NotFound and QueueDoesNotExist are transient, among others. Most of them have
// status 400 and many have no fault, so neither status nor fault distinguishes them.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html
var refusals = map[string]bool{
	"BatchRequestTooLong":    true,
	"InvalidArgument":        true, // EventBridge
	"InvalidAttributeName":   true,
	"InvalidAttributeValue":  true,
	"InvalidMessageContents": true,
	"InvalidParameter":       true, // SNS
	"InvalidParameterValue":  true,
	"MalformedDetail":        true, // EventBridge: the detail is no JSON that it reads
	"MissingParameter":       true, // SQS: a FIFO entry without MessageGroupId
	"ParameterValueInvalid":  true, // SNS: an attribute
	"ValidationError":        true,
	"ValidationException":    true,

	// Other brokers and gateways have their own codes for a request or message that is too large.
	"ContentTooLarge":       true,
	"EntityTooLarge":        true,
	"MessageTooLarge":       true,
	"MessageTooLong":        true,
	"PayloadTooLarge":       true,
	"RequestEntityTooLarge": true,
	"RequestTooLarge":       true,
}

// IsRefusal reports whether a broker refuses a request or an entry because of its content with this
// code.
func IsRefusal(code string) bool { return refusals[code] }

// CodeUnknown is the label of an error that has no other.
const CodeUnknown = "unknown"

// Code returns a short label of err for logs and metrics. It is the broker's own code if there is
// one, otherwise "timeout", "canceled", "network", "credentials" or "unknown". A nil err has none.
func Code(err error) string {
	if err == nil {
		return ""
	}
	if rejected, ok := errors.AsType[*RejectedError](err); ok {
		return rejected.Code
	}
	if _, altered := errors.AsType[*AlteredError](err); altered {
		return CodeChecksum
	}
	failure, known := errors.AsType[*Error](err)
	if known && failure.Code != "" {
		return failure.Code
	}
	if label := label(err); label != "" {
		return label
	}
	if known && failure.Origin == OriginCredentials {
		return string(OriginCredentials)
	}
	var api interface{ ErrorCode() string } // of a call that does not publish
	if !known && errors.As(err, &api) && api.ErrorCode() != "" {
		return shortCode(api.ErrorCode())
	}
	return CodeUnknown
}

// label returns how a request ended without an answer, or an empty text.
func label(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "network"
	}
	return ""
}

// shapes are errors whose name in AWS JSON is not their code. The SDK knows the code from a header
// of the answer; an entry's failure has no header, and an emulator may send either.
var shapes = map[string]string{
	"InvalidParameterValueException":    "InvalidParameterValue",
	"MissingRequiredParameterException": "MissingParameter",
}

// shortCode returns a code in one form for both protocols: without the "AWS.SimpleQueueService." of
// SQS and without the namespace of AWS JSON.
func shortCode(code string) string {
	code = strings.TrimPrefix(code, "AWS.SimpleQueueService.")
	code = code[strings.LastIndexByte(code, '#')+1:]
	if short, ok := shapes[code]; ok {
		return short
	}
	return code
}
