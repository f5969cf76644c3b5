package sink_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// apiError stands for the errors of the AWS SDK.
type apiError struct{ code string }

func (e apiError) Error() string        { return "api error " + e.code }
func (e apiError) ErrorCode() string    { return e.code }
func (e apiError) ErrorMessage() string { return "the message of " + e.code }

var permanent = []string{
	"InvalidMessageContents", "InvalidParameterValue", "InvalidParameter", "ParameterValueInvalid", "MissingParameter",
	"InvalidAttributeName", "InvalidAttributeValue", "BatchRequestTooLong", "ValidationError", "ValidationException",
}

var transient = []string{
	"Throttling", "ThrottlingException", "Throttled", "RequestThrottled", "TooManyRequestsException", "SlowDown",
	"KMSThrottling", "KMSThrottlingException", "KmsThrottled", "KMS.ThrottlingException", "KMSDisabled", "KMSInvalidState",
	"KMSNotFound", "KMSOptInRequired", "KMSAccessDenied", "KMS.AccessDeniedException", "AccessDenied",
	"AccessDeniedException", "AuthorizationError", "InvalidSecurity", "InvalidClientTokenId", "SignatureDoesNotMatch",
	"UnrecognizedClientException", "NotFound", "QueueDoesNotExist", "NonExistentQueue", "QueueDeletedRecently",
	"ExpiredToken", "ExpiredTokenException", "RequestTimeTooSkewed", "RequestExpired", "OverLimit", "InternalError",
	"InternalFailure", "ServiceUnavailable", "RequestTimeout", "UnsupportedOperation", "InvalidAddress",
	"EmptyBatchRequest", "BatchEntryIdsNotDistinct", "TooManyEntriesInBatchRequest", "InvalidBatchEntryId", "Unheard", "",
}

func TestOnlyCodesThatBlameTheMessagesArePermanent(t *testing.T) {
	t.Parallel()
	check := func(code string, want bool) {
		t.Helper()
		var refused *sink.RejectedError
		request := fmt.Errorf("publish: %w", apiError{code})
		if got := sink.ClassifyRequest(request); errors.As(got, &refused) != want || !want && got != request {
			t.Errorf("a request that failed with %q: %v", code, got)
		}
		if errors.As(sink.ClassifyEntry(code, "reason"), &refused) != want {
			t.Errorf("an entry that failed with %q: rejected is not %v", code, want)
		}
	}
	for _, code := range permanent {
		check(code, true)
		check("AWS.SimpleQueueService."+code, true)
		check("com.amazonaws.sqs#"+code, true)
	}
	check("com.amazon.coral.service#InvalidParameterValueException", true)
	check("com.amazon.coral.service#MissingRequiredParameterException", true)
	for _, code := range transient {
		check(code, false)
		check("AWS.SimpleQueueService."+code, false)
	}
}

func TestARefusalCarriesTheBrokersCodeAndWords(t *testing.T) {
	t.Parallel()
	err := sink.ClassifyRequest(apiError{"AWS.SimpleQueueService.BatchRequestTooLong"})
	if want := "rejected: BatchRequestTooLong: the message of AWS.SimpleQueueService.BatchRequestTooLong"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if got := sink.ClassifyRequest(io.ErrUnexpectedEOF); got != io.ErrUnexpectedEOF {
		t.Errorf("an error that is not the broker's became %v", got)
	}
}

func TestCodeIsAShortLabel(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{fmt.Errorf("send: %w", apiError{"ThrottlingException"}), "ThrottlingException"},
		{apiError{"AWS.SimpleQueueService.NonExistentQueue"}, "NonExistentQueue"},
		{apiError{"com.amazon.coral.service#InvalidParameterValueException"}, "InvalidParameterValue"},
		{fmt.Errorf("send: %w", &sink.RejectedError{Code: "InvalidParameter"}), "InvalidParameter"},
		{&sink.BrokerError{Code: "InternalError"}, "InternalError"},
		{context.DeadlineExceeded, "timeout"},
		{fmt.Errorf("send: %w", &net.OpError{Op: "read", Err: context.DeadlineExceeded}), "timeout"},
		{fmt.Errorf("send: %w", context.Canceled), "canceled"},
		{fmt.Errorf("send: %w", refused), "network"},
		{io.EOF, "network"},
		{io.ErrUnexpectedEOF, "network"},
		{apiError{""}, "unknown"},
		{errors.New("what"), "unknown"},
	} {
		if got := sink.Code(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
