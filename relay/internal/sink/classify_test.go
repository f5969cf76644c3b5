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
	"RequestEntityTooLarge", "EntityTooLarge", "MessageTooLong", "MessageTooLarge", "RequestTooLarge",
	"PayloadTooLarge", "ContentTooLarge", "InvalidArgument", "MalformedDetail",
}

var transient = []string{
	"Throttling", "ThrottlingException", "Throttled", "RequestThrottled", "TooManyRequestsException", "SlowDown",
	"KMSThrottling", "KMSThrottlingException", "KmsThrottled", "KMS.ThrottlingException", "KMSDisabled",
	"KMSInvalidState",
	"KMSNotFound", "KMSOptInRequired", "KMSAccessDenied", "KMS.AccessDeniedException", "AccessDenied",
	"AccessDeniedException", "AuthorizationError", "InvalidSecurity", "InvalidClientTokenId", "SignatureDoesNotMatch",
	"UnrecognizedClientException", "NotFound", "QueueDoesNotExist", "NonExistentQueue", "QueueDeletedRecently",
	"ExpiredToken", "ExpiredTokenException", "RequestTimeTooSkewed", "RequestExpired", "OverLimit", "InternalError",
	"InternalFailure", "ServiceUnavailable", "RequestTimeout", "UnsupportedOperation", "InvalidAddress",
	"EmptyBatchRequest", "BatchEntryIdsNotDistinct", "TooManyEntriesInBatchRequest", "InvalidBatchEntryId",
	"NotAuthorizedForSourceException", "NotAuthorizedForDetailTypeException", "InvalidAccountIdException",
	"RedactionFailure", "ResourceNotFoundException", "InternalException", "Unheard", "",
}

func TestOnlyCodesThatBlameTheMessagesArePermanent(t *testing.T) {
	t.Parallel()
	check := func(code string, want bool) {
		t.Helper()
		var refused *sink.RejectedError
		request := fmt.Errorf("publish: %w", sink.RequestError(400, code, "no", apiError{code}))
		if got := sink.ClassifyRequest(request); errors.As(got, &refused) != want || !want && !errors.Is(got, request) {
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
	err := sink.ClassifyRequest(
		sink.RequestError(400, "AWS.SimpleQueueService.BatchRequestTooLong", "the message", nil))
	if want := "rejected: BatchRequestTooLong: the message"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if got := sink.ClassifyRequest(io.ErrUnexpectedEOF); !errors.Is(got, io.ErrUnexpectedEOF) {
		t.Errorf("an error that is not the broker's became %v", got)
	}
}

// TestOnlyTheAnswerToTheRequestRefusesIt: a code of another service, or of another request, refuses
// no message.
func TestOnlyTheAnswerToTheRequestRefusesIt(t *testing.T) {
	t.Parallel()
	refusal := sink.RequestError(400, "ValidationError", "the duration is too long", apiError{"ValidationError"})
	for _, err := range []error{
		apiError{"ValidationError"},
		&sink.Error{Origin: sink.OriginCredentials, Err: apiError{"ValidationError"}},
		&sink.Error{Origin: sink.OriginCredentials, Err: refusal},
		&sink.Error{Origin: sink.OriginTransport, Err: refusal},
	} {
		if got := sink.ClassifyRequest(err); !errors.Is(got, err) || isRejected(got) != isRejected(err) {
			t.Errorf("%#v became %v", err, got)
		}
	}
	if got := sink.ClassifyRequest(sink.RequestError(413, "HTTP 413", "too large", nil)); !isRejected(got) {
		t.Errorf("a request that is too large: %v, want a refusal, so that its parts are tried", got)
	}
}

// TestATooLargeHeadIsHalvedAndRefusesNoMessage: the head says nothing about the messages.
func TestATooLargeHeadIsHalvedAndRefusesNoMessage(t *testing.T) {
	t.Parallel()
	stranger := sink.RequestError(431, "HTTP 431", "HTTP 431 from proxy, not SQS", nil)
	stranger.Origin = sink.OriginTransport
	got := sink.ClassifyRequest(stranger)
	if isRejected(got) || !sink.PassesInParts(got) {
		t.Errorf("%v", got)
	}
	for _, err := range []error{
		io.EOF, sink.RequestError(400, "AccessDenied", "no", nil),
		sink.RequestError(503, "HTTP 503", "no", nil),
	} {
		if sink.PassesInParts(sink.ClassifyRequest(err)) {
			t.Errorf("%v is sent in parts", err)
		}
	}
}

func isRejected(err error) bool {
	_, rejected := errors.AsType[*sink.RejectedError](err)
	return rejected
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
		{sink.EntryError("InternalError", ""), "InternalError"},
		{&sink.Error{Origin: sink.OriginCredentials, Err: apiError{"ValidationError"}}, "credentials"},
		{&sink.Error{Origin: sink.OriginCredentials, Err: context.DeadlineExceeded}, "timeout"},
		{&sink.Error{Origin: sink.OriginTransport, Err: io.ErrUnexpectedEOF}, "network"},
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

// TestWordsOfAnAnswerCanBeStored: a dead letter keeps them in a text of Postgres.
func TestWordsOfAnAnswerCanBeStored(t *testing.T) {
	t.Parallel()
	const words, stored = "no \x00 and no \xff", "no \ufffd and no \ufffd"
	var rejected *sink.RejectedError
	for _, err := range []error{
		sink.ClassifyEntry("InvalidMessageContents", words),
		sink.ClassifyRequest(sink.RequestError(400, "InvalidMessageContents", words, nil)),
	} {
		if !errors.As(err, &rejected) || rejected.Reason != stored {
			t.Errorf("%+q", err)
		}
	}
}
