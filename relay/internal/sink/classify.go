package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

// BrokerError is what the broker answered when the fault need not be the message's: worth another attempt.
type BrokerError struct {
	Code   string
	Reason string
}

func (e *BrokerError) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Reason) }

// ErrorCode returns Code, under the name that the errors of the AWS SDK have for it.
func (e *BrokerError) ErrorCode() string { return e.Code }

// refusals are the codes by which a broker refuses a request or an entry for what is in it. Every code that is not
// here is worth another attempt, for ever: it is better to be stuck and to say so than to lose an event to a code that
// means something else than we think. So among others ThrottlingException, KMSThrottling, KmsThrottled, OverLimit,
// InternalError, ExpiredToken, RequestTimeTooSkewed, AccessDenied, AuthorizationError, NotFound and QueueDoesNotExist
// are transient, most of them with status 400 and many without a fault: neither status nor fault tells them apart.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
var refusals = map[string]bool{
	"BatchRequestTooLong":    true,
	"InvalidAttributeName":   true,
	"InvalidAttributeValue":  true,
	"InvalidMessageContents": true,
	"InvalidParameter":       true, // SNS
	"InvalidParameterValue":  true,
	"MissingParameter":       true, // SQS: a FIFO entry without MessageGroupId
	"ParameterValueInvalid":  true, // SNS: an attribute
	"ValidationError":        true,
	"ValidationException":    true,
}

// ClassifyRequest returns the outcome of a request that the broker or the network failed: a [*RejectedError] when it
// was refused for what is in its messages, else err itself.
func ClassifyRequest(err error) error {
	var api interface {
		ErrorCode() string
		ErrorMessage() string
	}
	if !errors.As(err, &api) {
		return err
	}
	if code := shortCode(api.ErrorCode()); refusals[code] {
		return &RejectedError{Code: code, Reason: api.ErrorMessage()}
	}
	return err
}

// ClassifyEntry returns the outcome of an entry that the broker listed as failed in an otherwise successful answer. The
// code alone decides: SenderFault is also true of throttling and missing rights, and not always of a bad message.
func ClassifyEntry(code, reason string) error {
	code = shortCode(code)
	if refusals[code] {
		return &RejectedError{Code: code, Reason: reason}
	}
	return &BrokerError{Code: code, Reason: reason}
}

// Code returns a short label of err for logs and metrics: the broker's own code where it gave one, else "timeout",
// "canceled", "network" or "unknown". A nil err has none.
func Code(err error) string {
	if err == nil {
		return ""
	}
	var rejected *RejectedError
	var api interface{ ErrorCode() string }
	var network net.Error
	switch {
	case errors.As(err, &rejected):
		return rejected.Code
	case errors.As(err, &api) && api.ErrorCode() != "":
		return shortCode(api.ErrorCode())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "network"
	}
	return "unknown"
}

// shapes are errors whose name in AWS JSON is not their code. The SDK knows the code from a header of the answer; an
// entry's failure has no header, and an emulator may send either.
var shapes = map[string]string{
	"InvalidParameterValueException":    "InvalidParameterValue",
	"MissingRequiredParameterException": "MissingParameter",
}

// shortCode brings a code to one form, whatever protocol it came by: without the "AWS.SimpleQueueService." of SQS and
// without the name space of AWS JSON.
func shortCode(code string) string {
	code = strings.TrimPrefix(code, "AWS.SimpleQueueService.")
	code = code[strings.LastIndexByte(code, '#')+1:]
	if short, ok := shapes[code]; ok {
		return short
	}
	return code
}
