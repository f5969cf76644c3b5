package fakeaws

import (
	"context"
	"net/http"
	"time"
)

// These errors are about who signed a request, not about the request. Services with AWS JSON name
// their shapes otherwise.
var (
	expiredToken = &apiError{
		status: http.StatusForbidden, code: "ExpiredToken", shape: "ExpiredTokenException",
		message: "The security token included in the request is expired",
	}
	unknownToken = &apiError{
		status: http.StatusForbidden, code: "InvalidClientTokenId", shape: "UnrecognizedClientException",
		message: "The security token included in the request is invalid.",
	}
	wrongSignature = &apiError{
		status: http.StatusForbidden, code: "SignatureDoesNotMatch", shape: "InvalidSignatureException",
		message: "The request signature we calculated does not match the signature you provided. Check your AWS " +
			"Secret Access Key and signing method. Consult the service documentation for details.",
	}
)

// ExpireToken answers that the credentials have expired.
func ExpireToken() Fault { return refuse(func(service) *apiError { return expiredToken }) }

// RefuseToken answers that these credentials are unknown, as AWS does for a moment after a key was
// made.
func RefuseToken() Fault { return refuse(func(service) *apiError { return unknownToken }) }

// RefuseSignature answers that the signature is wrong, as after a secret key was exchanged.
func RefuseSignature() Fault { return refuse(func(service) *apiError { return wrongSignature }) }

// ExpireTokens answers so to requests whose session token isExpired.
func ExpireTokens(isExpired func(token string) bool) Fault {
	return Fault{before: func(_ context.Context, x exchange) bool {
		if !isExpired(x.header.Get("X-Amz-Security-Token")) {
			return false
		}
		x.server.write(x.w, x.service, x.server.failed(x.service, expiredToken))
		return true
	}}
}

// ForKeys applies f, a fault that answers in place of the service, to the requests that are signed
// with a selected access key.
func ForKeys(isSelected func(accessKeyID string) bool, f Fault) Fault {
	return Fault{before: func(ctx context.Context, x exchange) bool {
		return isSelected(accessKeyID(x.header.Get("Authorization"))) && f.before(ctx, x)
	}}
}

const (
	signedAt = "20060102T150405Z"
	// maxSkew is how far the time of a signature may be from the service's clock.
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
	maxSkew = 5 * time.Minute
)

// SkewClock has the service's clock ahead of this machine's by d: its answers bear that time, and a
// signature is refused that is too far from it.
func SkewClock(d time.Duration) Fault {
	return Fault{before: func(_ context.Context, x exchange) bool {
		now := x.server.options.Now().Add(d).UTC()
		x.w.Header().Set("Date", now.Format(http.TimeFormat))
		at, err := time.Parse(signedAt, x.header.Get("X-Amz-Date"))
		if err == nil && now.Sub(at).Abs() <= maxSkew {
			return false
		}
		e := *wrongSignature
		e.message = "Signature expired: " + at.Format(signedAt) + " is now earlier than " +
			now.Add(-maxSkew).Format(signedAt)
		if at.After(now) {
			e.message = "Signature not yet current: " + at.Format(signedAt) + " is still later than " +
				now.Add(maxSkew).Format(signedAt)
		}
		x.server.write(x.w, x.service, x.server.failed(x.service, &e))
		return true
	}}
}
