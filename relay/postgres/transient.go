package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// IsTransient reports whether err is transient: the server is unreachable, overloaded or still
// starting, so that a retry may succeed. A definite refusal needs an operator.
func IsTransient(err error) bool {
	var refused *pgconn.PgError
	var certificate *tls.CertificateVerificationError
	switch {
	case IsPooler(err):
		return false
	case errors.Is(err, errStandby):
		return true
	case errors.As(err, &refused):
		return isTransientCode(refused.Code)
	case errors.As(err, &certificate):
		return false
	}
	return isUnreachable(err)
}

// isTransientCode reports whether the condition of a SQLSTATE passes. Such conditions are an
// exception of the connection, a lack of resources (too_many_connections), and an intervention
// (cannot_connect_now during the start). A transaction_timeout passes too: a server with a very
// short one ends some connections before their client can change it.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func isTransientCode(code string) bool {
	return pgerrcode.IsConnectionException(code) || pgerrcode.IsInsufficientResources(code) ||
		pgerrcode.IsOperatorIntervention(code) || code == transactionTimeout
}

// isUnreachable reports whether a connection could not be opened, was lost, or took too long.
func isUnreachable(err error) bool {
	var operation *net.OpError
	var name *net.DNSError
	var network net.Error
	return errors.As(err, &operation) || errors.As(err, &name) || errors.As(err, &network) && network.Timeout() ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
