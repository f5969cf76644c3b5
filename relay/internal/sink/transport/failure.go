package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// strangerError means that an answer is not the service's: a proxy or a load balancer in front of
// it answered.
type strangerError struct {
	status        int
	host, service string
	coding        string // of its body, which is not decoded; usually empty
	err           error  // of reading the answer as the service's
}

func (e *strangerError) Error() string {
	text := fmt.Sprintf("HTTP %d from %s, not %s", e.status, e.host, sink.Service(e.service).Name())
	if e.coding != "" {
		text += ": a proxy in between sends it encoded as " + e.coding + ": turn its compression of answers off"
	}
	return text
}

func (e *strangerError) Unwrap() error { return e.err }

// unknownCode is the code that the SDK's readers set if there is none.
const unknownCode = "UnknownError"

// answered returns err, the result of reading an answer of host, with its origin. That is the
// service if the answer has an error code of it. Otherwise a proxy or a load balancer answered.
func answered(service, host string, status int, header http.Header, err error) error {
	if _, known := errors.AsType[*sink.Error](err); known {
		return err
	}
	var said smithy.APIError
	if errors.As(err, &said) && said.ErrorCode() != "" && said.ErrorCode() != unknownCode {
		return sink.RequestError(status, said.ErrorCode(), said.ErrorMessage(), err)
	}
	stranger := &strangerError{status, host, service, header.Get(contentEncoding), err}
	failure := sink.RequestError(status, fmt.Sprint("HTTP ", status), stranger.Error(), stranger)
	// 413 concerns this very request, whoever answers it
	if status != http.StatusRequestEntityTooLarge {
		failure.Origin = sink.OriginTransport
	}
	return failure
}

// unanswered returns err, with which a request to u ended without an answer, with its origin.
func unanswered(u *url.URL, err error) error {
	if cure := certificateCure(u.Hostname(), err); cure != "" {
		err = fmt.Errorf("%w: %s", err, cure)
	}
	return &sink.Error{
		Origin: sink.OriginTransport,
		Err:    &url.Error{Op: "Post", URL: u.Scheme + "://" + u.Host, Err: err},
	}
}

// certificateCure returns how to fix the certificate of host that err refuses, or an empty text if
// err refuses none.
func certificateCure(host string, err error) string {
	if _, ofAnother := errors.AsType[x509.HostnameError](err); ofAnother {
		return "another host answers in place of " + host +
			": correct the network, or set AWS_ENDPOINT_URL to a name in the certificate"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "renew the certificate of " + host + ", or correct the clock of this machine"
	}
	if _, unverified := errors.AsType[*tls.CertificateVerificationError](err); unverified { // its authority is unknown
		return "if a proxy or a broker of your own signs it, name its authority's file in AWS_CA_BUNDLE"
	}
	return ""
}

// WithOrigin makes a client of the SDK for service give its errors their origin.
func WithOrigin(service string) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(origin{service}, middleware.Before)
	}
}

// origin wraps every step that reads an answer.
type origin struct{ service string }

// ID implements [middleware.DeserializeMiddleware].
func (origin) ID() string { return "Origin" }

// HandleDeserialize implements [middleware.DeserializeMiddleware].
func (o origin) HandleDeserialize(
	ctx context.Context,
	in middleware.DeserializeInput,
	next middleware.DeserializeHandler,
) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, metadata, err := next.HandleDeserialize(ctx, in)
	request, _ := in.Request.(*smithyhttp.Request)
	response, _ := out.RawResponse.(*smithyhttp.Response)
	switch {
	case err == nil || request == nil:
	case response == nil || response.StatusCode == 0:
		// the SDK replaces an error of Do by one of its own
		err = &sink.Error{Origin: sink.OriginTransport, Err: err}
	default:
		err = answered(o.service, request.URL.Host, response.StatusCode, response.Header, err)
	}
	return out, metadata, err
}
