package sink

import (
	"errors"
	"net/http"
	"strings"
)

// throttles are further codes of throttling, besides those that contain "throttl".
var throttles = map[string]bool{
	"BandwidthLimitExceeded":                 true,
	"LimitExceededException":                 true,
	"OverLimit":                              true,
	"ProvisionedThroughputExceededException": true,
	"RequestLimitExceeded":                   true,
	"SlowDown":                               true,
	"TooManyRequests":                        true,
	"TooManyRequestsException":               true,
}

// IsThrottled reports whether the destination, or its encryption key, throttles the relay: by the
// code of its answer to the whole request, or by the status 429 of a proxy. A throttled entry
// concerns its message group. A throttled credentials service concerns neither.
func IsThrottled(err error) bool {
	failure, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return false
	case failure.Origin == OriginRequest && IsThrottleCode(failure.Code):
		return true
	}
	return failure.Status == http.StatusTooManyRequests &&
		(failure.Origin == OriginRequest || failure.Origin == OriginTransport)
}

// IsThrottleCode reports whether a code of AWS says that requests come too fast, to the service or
// to its encryption key.
func IsThrottleCode(code string) bool {
	return throttles[code] || strings.Contains(strings.ToLower(code), "throttl")
}
