package postgres

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// UseDirectAddress is the remedy for a connection pooler.
const UseDirectAddress = "a connection pooler (PgBouncer, RDS Proxy or the like) is in between, which keeps neither " +
	"a session nor a replication connection: set DATABASE_URL to the server's own address"

// lostStatement are the SQLSTATEs of a server behind a pooler that gives its session to several
// clients. A statement of this name is already prepared, or no longer. A connection with one client
// never has these errors.
var lostStatement = []string{pgerrcode.DuplicatePreparedStatement, pgerrcode.InvalidSQLStatementName}

// poolerMessages are the beginnings, in lower case, of messages that only poolers send. Their
// SQLSTATEs are those of transient errors, so only the text identifies them. It is not translated.
// https://www.pgbouncer.org/config.html#ignore_startup_parameters
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.troubleshooting.html
var poolerMessages = []string{"unsupported startup parameter", "feature not supported: rds proxy", "rds proxy "}

// IsPooler reports whether err comes from a connection pooler, or from a server behind one that
// gives a session to several clients. A retry does not help.
func IsPooler(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	message := strings.ToLower(refused.Message)
	isBeginning := func(beginning string) bool { return strings.HasPrefix(message, beginning) }
	return slices.Contains(lostStatement, refused.Code) || slices.ContainsFunc(poolerMessages, isBeginning)
}
