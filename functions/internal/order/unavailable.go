package order

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// UnavailableError means that Postgres is unreachable, too slow, or out of connections.
type UnavailableError struct {
	Err error
}

func (e *UnavailableError) Error() string { return e.Err.Error() }
func (e *UnavailableError) Unwrap() error { return e.Err }

// passingClasses are the SQLSTATE classes of errors after which a retry may succeed.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var passingClasses = []string{
	"08", // connection exception
	"40", // transaction rollback: serialization failure, deadlock
	"53", // insufficient resources: too many connections, disk full
	"55", // object not in prerequisite state: lock not available
	"57", // operator intervention: shutdown, statement timeout
	"58", // system error
}

// readOnlyTransaction is the answer of the former primary after a failover.
const readOnlyTransaction = "25006"

func storeError(doing string, err error) error {
	wrapped := fmt.Errorf("%s: %w", doing, err)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrKeyReused) || atFault(err) {
		return wrapped
	}
	return &UnavailableError{Err: wrapped}
}

// atFault reports whether Postgres answered with an error of the statement or of the schema.
func atFault(err error) bool {
	var connecting *pgconn.ConnectError
	var answer *pgconn.PgError
	if errors.As(err, &connecting) || !errors.As(err, &answer) {
		return false
	}
	return answer.Code != readOnlyTransaction && !slices.Contains(passingClasses, answer.Code[:2])
}
