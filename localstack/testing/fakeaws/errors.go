package fakeaws

import (
	"fmt"
	"net/http"
)

// apiError is an error in the client's view.
type apiError struct {
	status   int
	code     string // name in the Query protocol
	shape    string // name in AWS JSON
	message  string
	receiver bool // the fault is the service's
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

// queryCodes are the errors of SQS whose name in AWS JSON differs from their code. The SDKs read
// the code from the header x-amzn-query-error.
var queryCodes = map[string]string{
	"BatchEntryIdsNotDistinct":          "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
	"BatchRequestTooLong":               "AWS.SimpleQueueService.BatchRequestTooLong",
	"EmptyBatchRequest":                 "AWS.SimpleQueueService.EmptyBatchRequest",
	"InvalidBatchEntryId":               "AWS.SimpleQueueService.InvalidBatchEntryId",
	"InvalidParameterValueException":    "InvalidParameterValue",
	"KmsAccessDenied":                   "KMS.AccessDeniedException",
	"KmsDisabled":                       "KMS.DisabledException",
	"KmsNotFound":                       "KMS.NotFoundException",
	"KmsThrottled":                      "KMS.ThrottlingException",
	"MessageNotInflight":                "AWS.SimpleQueueService.MessageNotInflight",
	"MissingRequiredParameterException": "MissingParameter",
	"QueueDoesNotExist":                 "AWS.SimpleQueueService.NonExistentQueue",
	"QueueNameExists":                   "QueueAlreadyExists",
	"TooManyEntriesInBatchRequest":      "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
	"UnsupportedOperation":              "AWS.SimpleQueueService.UnsupportedOperation",
}

// sqsError returns an error of SQS by its name in AWS JSON.
func sqsError(shape, format string, args ...any) *apiError {
	code := shape
	if legacy := queryCodes[shape]; legacy != "" {
		code = legacy
	}
	return &apiError{status: http.StatusBadRequest, code: code, shape: shape, message: fmt.Sprintf(format, args...)}
}

func invalidValue(format string, args ...any) *apiError {
	return sqsError("InvalidParameterValueException", format, args...)
}

// eventsError returns an error of EventBridge.
func eventsError(shape, format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, code: shape, shape: shape, message: fmt.Sprintf(format, args...)}
}

// snsError returns an error of SNS by its code.
func snsError(code, format string, args ...any) *apiError {
	status := http.StatusBadRequest
	if code == "NotFound" {
		status = http.StatusNotFound
	}
	return &apiError{status: status, code: code, shape: code, message: fmt.Sprintf(format, args...)}
}

func invalidParameter(format string, args ...any) *apiError {
	return snsError("InvalidParameter", "Invalid parameter: "+format, args...)
}
