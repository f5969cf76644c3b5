package sink

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
)

func TestThrottlingIsKnownByCodeOrStatus(t *testing.T) {
	t.Parallel()
	for _, code := range []string{
		"Throttling", "ThrottlingException", "Throttled", "ThrottledException", "RequestThrottled",
		"TooManyRequestsException",
		"SlowDown", "KMSThrottling", "KmsThrottled", "KMS.ThrottlingException",
		"AWS.SimpleQueueService.RequestThrottled",
		"com.amazonaws.sqs#RequestThrottled", "OverLimit",
	} {
		if !IsThrottled(fmt.Errorf("send: %w", RequestError(400, code, "Rate exceeded", nil))) {
			t.Errorf("%s is no throttling", code)
		}
	}
	for _, err := range []error{
		nil, errors.New("no code"), RequestError(503, "ServiceUnavailable", "", nil), RequestError(403,
			"AccessDenied", "", nil),
		&RejectedError{Code: "InvalidMessageContents"}, EntryError("ThrottlingException", ""),
		&Error{Origin: OriginCredentials, Code: "ThrottlingException", Status: 429},
	} {
		if IsThrottled(err) {
			t.Errorf("%v is taken for throttling", err)
		}
	}
	if !IsThrottled(&Error{Origin: OriginTransport, Status: http.StatusTooManyRequests}) {
		t.Error("status 429 is no throttling")
	}
}
