package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// errStandby means that a server is a standby: its rows may be older than those of the primary, by
// which the relay decides which events are delivered. It passes with a promotion.
var errStandby = errors.New("the server is a standby, and the relay needs the primary")

// RequirePrimary makes a connection accept no standby, whatever target_session_attrs in the
// connection string says. A URL may name several hosts, and a name may have several addresses: the
// connection then tries the next one.
func RequirePrimary(conn *pgconn.Config) {
	conn.ValidateConnect = func(_ context.Context, server *pgconn.PgConn) error {
		if isStandby(server) {
			return errStandby
		}
		return nil
	}
}

// isStandby costs no round trip: every supported server reports the parameter at the start of a
// session.
func isStandby(server *pgconn.PgConn) bool { return server.ParameterStatus("in_hot_standby") == "on" }

// hasSeveralHosts tells further hosts from further attempts at one host, such as one without TLS.
func hasSeveralHosts(conn *pgconn.Config) bool {
	for _, other := range conn.Fallbacks {
		if other.Host != conn.Host || other.Port != conn.Port {
			return true
		}
	}
	return false
}
