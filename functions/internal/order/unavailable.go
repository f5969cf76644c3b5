package order

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// UnavailableError says that Postgres could not do its part: it is away, too slow, or out of connections.
type UnavailableError struct {
	Err error
}

func (e *UnavailableError) Error() string { return e.Err.Error() }
func (e *UnavailableError) Unwrap() error { return e.Err }

// passingClasses are the classes of SQLSTATE that another attempt may not meet.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var passingClasses = []string{
	"08", // connection exception
	"40", // transaction rollback: serialization failure, deadlock
	"53", // insufficient resources: too many connections, disk full
	"55", // object not in prerequisite state: lock not available
	"57", // operator intervention: shutdown, statement timeout
	"58", // system error
}

// readOnlyTransaction is what the old primary answers after a failover.
const readOnlyTransaction = "25006"

func storeError(doing string, err error) error {
	wrapped := fmt.Errorf("%s: %w", doing, err)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrKeyReused) || atFault(err) {
		return wrapped
	}
	return &UnavailableError{Err: wrapped}
}

// atFault reports whether Postgres answered, and the statement or the schema is to blame.
func atFault(err error) bool {
	var connecting *pgconn.ConnectError
	var answer *pgconn.PgError
	if errors.As(err, &connecting) || !errors.As(err, &answer) {
		return false
	}
	return answer.Code != readOnlyTransaction && !slices.Contains(passingClasses, answer.Code[:2])
}
