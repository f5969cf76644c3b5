package sink

import (
	"errors"
	"fmt"
	"testing"
)

func TestACredentialsFailureIsKnownByOriginOrCode(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&Error{Origin: OriginCredentials, Err: errors.New("STS is unavailable")},
		RequestError(403, "ExpiredToken", "", nil), RequestError(403,
			"com.amazon.coral.service#ExpiredTokenException", "", nil),
		RequestError(403, "InvalidClientTokenId", "", nil), RequestError(403, "SignatureDoesNotMatch", "", nil),
	} {
		if !ConcernsCredentials(fmt.Errorf("send: %w", err)) {
			t.Errorf("%v is not about who signs", err)
		}
	}
	for _, err := range []error{
		nil, errors.New("no code"), RequestError(403, "AccessDenied", "", nil), RequestError(503,
			"ServiceUnavailable", "", nil),
		EntryError("ExpiredToken", ""), &Error{Origin: OriginTransport, Status: 407},
	} {
		if ConcernsCredentials(err) {
			t.Errorf("%v is taken for a failure of who signs", err)
		}
	}
}

func TestAClockNeedsNoOtherCredentials(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"ExpiredToken": true, "UnrecognizedClientException": true, "InvalidAccessKeyId": true, "AccessDenied": true,
		"AuthorizationError": true, "RequestTimeTooSkewed": false, "RequestExpired": false, "Throttling": false,
		"KMSAccessDenied": false, "": false,
	} {
		if got := MayRefuseSigner(code); got != want {
			t.Errorf("%q: %t, want %t", code, got, want)
		}
	}
}
