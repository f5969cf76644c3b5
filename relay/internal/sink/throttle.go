package sink

import (
	"errors"
	"net/http"
	"strings"
)

// throttles are the codes, beside those with "throttl" in them, by which a service says that it is asked too often.
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

// IsThrottled reports whether err says that the destination, or the encryption key that it uses, is asked too often: by
// the code of its answer to the whole request, or by the status 429 of a proxy in its place. A throttled entry concerns its
// message group and a throttled service of credentials neither.
func IsThrottled(err error) bool {
	failure, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return false
	case failure.Origin == OriginRequest && (throttles[failure.Code] || strings.Contains(strings.ToLower(failure.Code), "throttl")):
		return true
	}
	return failure.Status == http.StatusTooManyRequests && (failure.Origin == OriginRequest || failure.Origin == OriginTransport)
}
