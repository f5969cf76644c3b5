package postgres

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Explain adds a remedy to the error of a connect. It returns any other error unchanged.
func Explain(err error) error {
	err = withoutParameters(err)
	if remedy := remedyOf(err); remedy != "" {
		return fmt.Errorf("%w: %s", err, remedy)
	}
	return err
}

// IsRowSecurity reports whether Postgres refused a statement because a policy could hide rows. A
// missing privilege has the same SQLSTATE, and messages are translated. So the name of the server's
// function decides.
func IsRowSecurity(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == pgerrcode.InsufficientPrivilege &&
		refused.Routine == "check_enable_rls"
}

func remedyOf(err error) string {
	var unknown x509.UnknownAuthorityError
	var otherHost x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "set PGSSLROOTCERT to the file with the certificate of its authority (those of RDS and the public " +
			"ones are known without it)"
	case errors.As(err, &otherHost):
		return "connect by a name that the certificate holds (on RDS: the endpoint itself, not an alias)"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "give the server a new certificate (on RDS: choose a newer certificate authority for the instance), " +
			"or set the clock of this machine"
	case isWithoutTLS(err):
		return "turn TLS on at the server (ssl = on, with a certificate), or, on a network that only you can read, " +
			"set sslmode=disable in DATABASE_URL"
	case IsPooler(err):
		return UseDirectAddress
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return ""
	}
	if IsRowSecurity(refused) {
		return "relay check names the statement that lets the relay read all rows"
	}
	switch refused.Code {
	case pgerrcode.TooManyConnections:
		return remedyOfLimit(err, refused)
	case pgerrcode.InvalidCatalogName:
		return "create it, or name another one in DATABASE_URL"
	case pgerrcode.InvalidPassword:
		return "check user and password in DATABASE_URL, or in the secret of DATABASE_SECRET_ARN"
	case pgerrcode.InvalidAuthorizationSpecification:
		return "check the role in DATABASE_URL, and whether the server's pg_hba.conf accepts it (on RDS: members of " +
			"rds_iam need DATABASE_AUTH=iam, and other roles cannot use it; the caller's policy has to allow " +
			"rds-db:connect for the role, and a relay needs rds.iam_auth_for_replication = 1)"
	}
	return ""
}

// ConnectionsOfPair is the number of connections that a relay and its standby may need. A relay
// opens up to twelve for its tasks, the stream, one for its reports and one for the backlog. A
// standby opens four. The rest is for a command.
const ConnectionsOfPair = 20

// IsRoleLimit reports whether the CONNECTION LIMIT of the role refused a connection. Messages are
// translated, so the name of the server's function decides.
func IsRoleLimit(refused *pgconn.PgError) bool { return refused.Routine == "InitializeSessionUserId" }

// IsDatabaseLimit reports whether the CONNECTION LIMIT of the database refused a connection.
func IsDatabaseLimit(refused *pgconn.PgError) bool { return refused.Routine == "CheckMyDatabase" }

// remedyOfLimit names the limit that refused a connection.
func remedyOfLimit(err error, refused *pgconn.PgError) string {
	var connecting *pgconn.ConnectError
	if !errors.As(err, &connecting) || connecting.Config == nil {
		return ""
	}
	const text = "a relay and its standby need up to %d connections, so raise the limit of the %s: ALTER %s %s " +
		"CONNECTION LIMIT …"
	switch {
	case IsRoleLimit(refused):
		return fmt.Sprintf(text, ConnectionsOfPair, "role", "ROLE", pgx.Identifier{connecting.Config.User}.Sanitize())
	case IsDatabaseLimit(refused):
		return fmt.Sprintf(text, ConnectionsOfPair, "database", "DATABASE",
			pgx.Identifier{connecting.Config.Database}.Sanitize())
	}
	return ""
}

// isWithoutTLS reports whether the server has no TLS, and the connection ended there. With
// sslmode=prefer a second attempt follows without TLS, whose answer is then the reason. pgx reports
// a server without TLS only in the text of its error.
func isWithoutTLS(err error) bool {
	var connecting *pgconn.ConnectError
	var answer *pgconn.PgError
	return errors.As(err, &connecting) && !errors.As(err, &answer) &&
		strings.Contains(err.Error(), "server refused TLS connection")
}
