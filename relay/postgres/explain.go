package postgres

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// Explain adds to the error of a connect what to do about it. Any other error it returns as it is.
func Explain(err error) error {
	err = withoutParameters(err)
	if todo := remedy(err); todo != "" {
		return fmt.Errorf("%w: %s", err, todo)
	}
	return err
}

// IsRowSecurity reports whether Postgres refused a statement because a policy could hide rows from it. The name of the server's
// function tells that from a missing privilege, which has the same SQLSTATE: messages are translated.
func IsRowSecurity(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == pgerrcode.InsufficientPrivilege && refused.Routine == "check_enable_rls"
}

func remedy(err error) string {
	var unknown x509.UnknownAuthorityError
	var otherHost x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "name the file with the certificate of its authority in PGSSLROOTCERT (known without it are RDS' and the public ones)"
	case errors.As(err, &otherHost):
		return "connect by a name that the certificate holds (on RDS: the endpoint itself, no alias of it)"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "give the server a new certificate (on RDS: choose a newer certificate authority for the instance), or mend the clock of this machine"
	case isWithoutTLS(err):
		return "turn TLS on at the server (ssl = on, with a certificate), or, on a network that only you can read, name sslmode=disable in DATABASE_URL"
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
	case pgerrcode.InvalidCatalogName:
		return "create it, or name another one in DATABASE_URL"
	case pgerrcode.InvalidPassword:
		return "check user and password in DATABASE_URL, or in the secret of DATABASE_SECRET_ARN"
	case pgerrcode.InvalidAuthorizationSpecification:
		return "check the role in DATABASE_URL, and whether the server's pg_hba.conf lets it in (on RDS: a member of rds_iam connects with " +
			"DATABASE_AUTH=iam only, any other role never so; the policy of the caller has to allow rds-db:connect for the role, and a relay needs " +
			"rds.iam_auth_for_replication = 1)"
	}
	return ""
}

// isWithoutTLS reports whether a server was asked for TLS and has none. pgx says so in words only.
func isWithoutTLS(err error) bool {
	var connecting *pgconn.ConnectError
	return errors.As(err, &connecting) && strings.Contains(err.Error(), "server refused TLS connection")
}
