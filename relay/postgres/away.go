package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// passing are the classes of SQLSTATE that pass: connection exceptions, insufficient resources
// (too_many_connections), and operator intervention (cannot_connect_now, while the server starts).
// So does a transaction_timeout: where that of the server is a moment, it ends some connections
// before they could ask for a longer one.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var passing = []string{"08", "53", "57", transactionTimeout}

// IsAway reports whether err says that a server does not answer, or answers that it cannot at the
// moment: waiting may mend it. An answer that says no is for a person.
func IsAway(err error) bool {
	var refused *pgconn.PgError
	var certificate *tls.CertificateVerificationError
	switch {
	case IsPooler(err):
		return false
	case errors.As(err, &refused):
		return slices.ContainsFunc(passing, func(class string) bool { return strings.HasPrefix(refused.Code, class) })
	case errors.As(err, &certificate):
		return false
	}
	return isSilence(err)
}

// isSilence reports whether err is that of a connection that could not be made, was lost, or took
// too long.
func isSilence(err error) bool {
	var operation *net.OpError
	var name *net.DNSError
	var network net.Error
	return errors.As(err, &operation) || errors.As(err, &name) || errors.As(err, &network) && network.Timeout() ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
