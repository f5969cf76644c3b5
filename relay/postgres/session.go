package postgres

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// texts are the parameters that decide how a session writes values as text. Every program of this
// project pins them. So a value has the same text in the log, in a row that is read from the table
// and in a dead letter.
var texts = map[string]string{
	"client_encoding":             "UTF8",     // with LATIN1, ä is a byte that no message may contain, and € an error
	"DateStyle":                   "ISO, MDY", // times are compared, and become attributes
	"IntervalStyle":               "postgres",
	"TimeZone":                    "UTC",
	"bytea_output":                "hex",
	"extra_float_digits":          "1",   // shortest text of the same number; fewer digits could merge two aggregates
	"standard_conforming_strings": "on",  // a backslash in a literal is a backslash
	"quote_all_identifiers":       "off", // names of types are compared
}

// relaySession are the further parameters of every session of a relay and of its commands.
var relaySession = map[string]string{
	// A policy would hide rows that are in the log. With off, Postgres returns an error instead of
	// fewer rows.
	// https://www.postgresql.org/docs/current/ddl-rowsecurity.html
	"row_security": "off",
	// Managed hosts turn this on when the disk fills. The checkpoint then matters most.
	"default_transaction_read_only": "off",
	// An UPDATE that has waited for a row evaluates its condition again, on which the fence relies.
	"default_transaction_isolation": "read committed",
	// A position is confirmed only once its row survives a crash.
	"synchronous_commit": "on",
	// The relay sets its own deadlines. A limit of the role would end every long count, and every
	// creation of a slot that waits for transactions.
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_in_transaction_session_timeout": "0",
	"idle_session_timeout":                "0",
	// A recovery cancels the copy of its own walsender, and a check cancels a long statement. With
	// on, the error of either would end the connection.
	"exit_on_error": "off",
}

// PinTexts sets how the session writes values as text. Parameters in a startup message take
// precedence over those of the role, the database and the server, and over those of PGOPTIONS.
// https://www.postgresql.org/docs/current/config-setting.html
func PinTexts(conn *pgconn.Config) { Pin(conn, texts) }

// PinSession sets every parameter on which a relay's session relies, except the search path and the
// role. The search path of a control connection depends on the schema of the relay's tables.
func PinSession(conn *pgconn.Config, applicationName string) {
	Pin(conn, texts)
	Pin(conn, relaySession)
	Pin(conn, map[string]string{"application_name": applicationName})
	pinProtocol(conn)
	resetAfterLogin(conn, "RESET ALL")
	// Of one host, a command connects to a standby as well, so that its report can say so.
	if hasSeveralHosts(conn) {
		RequirePrimary(conn)
	}
}

// loginTriggerVersion is the first version with event triggers on login.
const loginTriggerVersion = 17

// resetAfterLogin resets the parameters that an event trigger on login has set. Such a trigger runs
// after the startup message, and statements such as RESET ALL return to the values of that message.
// https://www.postgresql.org/docs/current/event-trigger-definition.html
func resetAfterLogin(conn *pgconn.Config, statements string) {
	conn.AfterConnect = func(ctx context.Context, server *pgconn.PgConn) error {
		if majorVersion(server) < loginTriggerVersion {
			return nil
		}
		return server.Exec(ctx, statements).Close()
	}
}

// PinRole makes a session keep the role that connects, unless the connection string chooses another
// one. Privileges and the findings of relay check are those of that role. It follows [PinSession].
// A migration does not call it: with ALTER ROLE SET role, its tables belong to a common owner.
func PinRole(conn *pgconn.Config) {
	if !choosesRole(conn) {
		Pin(conn, map[string]string{"role": "none"})
	}
	resetAfterLogin(conn, "RESET ALL; RESET ROLE") // RESET ALL does not reset the role
}

// roleOption matches the role in the options of a connection string: -c role=x or --role=x.
var roleOption = regexp.MustCompile(`(?i)(^|\s)(-c\s*|--)role\s*=`)

func choosesRole(conn *pgconn.Config) bool {
	for name, value := range conn.RuntimeParams {
		if strings.EqualFold(name, "role") || strings.EqualFold(name, "options") && roleOption.MatchString(value) {
			return true
		}
	}
	return false
}

// pinProtocol requests the protocol version that every supported server has.
func pinProtocol(conn *pgconn.Config) {
	const version = "3.0"
	conn.MinProtocolVersion, conn.MaxProtocolVersion = version, version
}

// statementCache is the number of prepared statements of a connection. A relay rarely has more, and
// pgx allocates the room for all of them at once.
const statementCache = 128

// PinStatements makes pgx prepare the relay's statements, with parameters of the types that the
// server infers. A connection string can choose a mode of pgx that sends a parameter as the text of
// its Go type, for which the server finds no function.
func PinStatements(conn *pgx.ConnConfig) {
	conn.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	conn.StatementCacheCapacity, conn.DescriptionCacheCapacity = statementCache, statementCache
}

// Pin sets parameters of a session. It replaces a parameter in any spelling of the connection
// string: Postgres ignores case in names such as TimeZone, and the last value wins.
func Pin(conn *pgconn.Config, parameters map[string]string) {
	for name := range conn.RuntimeParams {
		for pinned := range parameters {
			if strings.EqualFold(name, pinned) {
				delete(conn.RuntimeParams, name)
			}
		}
	}
	for name, value := range parameters {
		conn.RuntimeParams[name] = value
	}
}

const (
	// transactionTimeoutVersion is the first version with transaction_timeout. Older servers refuse
	// a startup message that contains it.
	transactionTimeoutVersion = 17
	transactionTimeout        = "25P04" // SQLSTATE of transaction_timeout, which only such a server reports
)

// ParametersOfVersion connects to read the server's version. It returns the further parameters of a
// session that only some versions have. They belong into the startup message, because a very short
// transaction_timeout of the role would end the session before a statement could change it.
func ParametersOfVersion(ctx context.Context, conn *pgconn.Config) (map[string]string, error) {
	newer := map[string]string{"transaction_timeout": "0"}
	pinProtocol(conn)
	server, err := pgconn.ConnectConfig(ctx, conn)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == transactionTimeout:
		return newer, nil
	case err != nil:
		return nil, err
	}
	defer func() { _ = server.Close(ctx) }()
	if majorVersion(server) >= transactionTimeoutVersion {
		return newer, nil
	}
	return map[string]string{}, nil
}

// majorVersion parses the version in the server's parameters, as in 17.5, 19beta1 or 15.8 (Debian).
func majorVersion(conn *pgconn.PgConn) int {
	text := conn.ParameterStatus("server_version")
	digits := strings.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' })
	if digits >= 0 {
		text = text[:digits]
	}
	version, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return version
}
