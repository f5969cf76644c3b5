package postgres

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// texts are the parameters that decide how a session writes values as text. Every program of this project pins them, so that
// a value has the same text in the log, in a row that is read from the table and in a dead letter.
var texts = map[string]string{
	"client_encoding":             "UTF8",     // LATIN1 would turn ä into a byte that no message may have, and € into an error
	"DateStyle":                   "ISO, MDY", // times are compared and become attributes
	"IntervalStyle":               "postgres",
	"TimeZone":                    "UTC",
	"bytea_output":                "hex",
	"extra_float_digits":          "1",   // the shortest text that means the same number: fewer digits make two aggregates one
	"standard_conforming_strings": "on",  // a backslash in a literal is a backslash
	"quote_all_identifiers":       "off", // names of types are compared
}

// relaySession are the further parameters of every session of a relay and of its commands.
var relaySession = map[string]string{
	// A policy would hide rows that the log brings. Off, Postgres answers with an error in place of fewer rows.
	// https://www.postgresql.org/docs/current/ddl-rowsecurity.html
	"row_security": "off",
	// The checkpoint is most important when the disk fills, which is when a managed host turns this on.
	"default_transaction_read_only": "off",
	// An UPDATE that waited for a row looks at the row again, which the fence relies on.
	"default_transaction_isolation": "read committed",
	// A position is confirmed only once its row survives a crash.
	"synchronous_commit": "on",
	// What must not take long has a deadline in the relay. A limit of the role would end a long count, or a slot that waits for
	// transactions, each time.
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_in_transaction_session_timeout": "0",
	"idle_session_timeout":                "0",
}

// PinTexts sets how the session writes values. Parameters in a startup message go before those of the role, the database and
// the server, and before those in options, which PGOPTIONS sets.
// https://www.postgresql.org/docs/current/config-setting.html
func PinTexts(conn *pgconn.Config) { Pin(conn, texts) }

// PinSession sets, for a session of a relay, everything that the relay relies on and that others can set, but for the search
// path: that of a control connection follows from where the tables of the relay are.
func PinSession(conn *pgconn.Config, applicationName string) {
	Pin(conn, texts)
	Pin(conn, relaySession)
	Pin(conn, map[string]string{"application_name": applicationName})
	pinProtocol(conn)
}

// pinProtocol asks for the protocol of every server that the relay works with.
func pinProtocol(conn *pgconn.Config) {
	const version = "3.0"
	conn.MinProtocolVersion, conn.MaxProtocolVersion = version, version
}

// statementCache is how many prepared statements a connection keeps. A relay has fewer than this.
const statementCache = 512

// PinStatements sets how the statements of a relay are sent: prepared, with parameters of the types that the server infers. The
// connection string can choose a mode of pgx in which a parameter is sent as the text of its Go type, so that the server
// finds no function for it.
func PinStatements(conn *pgx.ConnConfig) {
	conn.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	conn.StatementCacheCapacity, conn.DescriptionCacheCapacity = statementCache, statementCache
}

// Pin sets further parameters of a session. It replaces each parameter, however the connection string writes its name: Postgres knows no difference between timezone
// and TimeZone, and takes the one that comes last.
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
	// transactionTimeoutVersion is the first Postgres that has transaction_timeout. An older one refuses a startup message that
	// names it.
	transactionTimeoutVersion = 17
	transactionTimeout        = "25P04" // transaction_timeout, which only such a server can report
)

// ParametersOfVersion connects to learn the server's version, and returns the further parameters of a session that not every version
// has. They belong into the startup message: where the role has a transaction_timeout of a moment, a statement would come late.
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

// majorVersion reads the version that the server told when it took the connection, as in 17.5, 19beta1 or 15.8 (Debian).
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
