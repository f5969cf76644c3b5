package preflight

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/jackc/pgx/v5/pgconn"
)

// OnlyAway reports whether everything in err, which [errors.Join] has put together, is that somebody does not answer, or
// answers that it cannot at the moment: waiting may mend it. An answer that says no is for a person.
func OnlyAway(err error) bool {
	if all, joined := err.(interface{ Unwrap() []error }); joined {
		return !slices.ContainsFunc(all.Unwrap(), func(err error) bool { return !OnlyAway(err) })
	}
	return isAway(err)
}

// passing are the classes of SQLSTATE that pass: connection exceptions, insufficient resources (too_many_connections), and
// operator intervention (cannot_connect_now, while the server starts).
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var passing = []string{"08", "53", "57"}

func isAway(err error) bool {
	var refused *pgconn.PgError
	var answer interface{ HTTPStatusCode() int }
	var api interface{ ErrorCode() string }
	var credentials *CredentialsError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused):
		return slices.ContainsFunc(passing, func(class string) bool { return strings.HasPrefix(refused.Code, class) })
	case errors.As(err, &answer) && (answer.HTTPStatusCode() >= 500 || answer.HTTPStatusCode() == http.StatusTooManyRequests):
		return true
	case errors.As(err, &api):
		_, throttled := retry.DefaultThrottleErrorCodes[api.ErrorCode()]
		return throttled
	case errors.As(err, &credentials):
		return true
	case errors.As(err, &certificate):
		return false
	}
	return isSilence(err)
}

// isSilence reports whether err is that of a connection that could not be made, was lost, or took too long.
func isSilence(err error) bool {
	var operation *net.OpError
	var name *net.DNSError
	var network net.Error
	return errors.As(err, &operation) || errors.As(err, &name) || errors.As(err, &network) && network.Timeout() ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
