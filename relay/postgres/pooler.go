package postgres

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// UseDirectAddress says what to do about a pooler. It is a sentence without its full stop.
const UseDirectAddress = "a connection pooler (PgBouncer, RDS Proxy or the like) stands between, which keeps neither a session nor a " +
	"replication connection: name the server's own address in DATABASE_URL"

// lostStatement are the answers of a server that another client's statements reach: a statement of
// this name is prepared already, or no longer. On a connection of one's own neither can be.
var lostStatement = []string{pgerrcode.DuplicatePreparedStatement, pgerrcode.InvalidSQLStatementName}

// poolerMessages are beginnings of messages that only poolers send, in small letters. They send
// them with the codes of errors that pass, so the text alone tells them apart; it is not
// translated.
// https://www.pgbouncer.org/config.html#ignore_startup_parameters
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.troubleshooting.html
var poolerMessages = []string{"unsupported startup parameter", "feature not supported: rds proxy", "rds proxy "}

// IsPooler reports whether err is the answer of a connection pooler, or that of a server behind one
// that gives a session to several clients. Waiting does not help.
func IsPooler(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	return slices.Contains(lostStatement, refused.Code) ||
		slices.ContainsFunc(poolerMessages, func(beginning string) bool { return strings.HasPrefix(strings.ToLower(refused.Message), beginning) })
}
