package preflight

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// connectionLimit is the CONNECTION LIMIT of the role that connects or of the database. -1 is none.
type connectionLimit struct {
	object string // as in role outbox_relay, quoted
	limit  int
	raise  string // the statement that makes room for a relay and its standby
}

func (l connectionLimit) isLow() bool { return l.limit >= 0 && l.limit < postgres.ConnectionsOfPair }

func (l connectionLimit) String() string {
	return fmt.Sprintf("%s has a CONNECTION LIMIT of %d, and a relay and its standby need up to %d connections",
		l.object, l.limit, postgres.ConnectionsOfPair)
}

// readConnectionLimits reads both limits. A superuser has none.
func (d *database) readConnectionLimits(ctx context.Context) (role, database connectionLimit, err error) {
	err = d.Pool.QueryRow(ctx, `
		SELECT 'role ' || pg_catalog.quote_ident(r.rolname), CASE WHEN r.rolsuper THEN -1 ELSE r.rolconnlimit END,
		       pg_catalog.format('ALTER ROLE %I CONNECTION LIMIT %s;', r.rolname, $1::integer),
		       'database ' || pg_catalog.quote_ident(b.datname), CASE WHEN r.rolsuper THEN -1 ELSE b.datconnlimit END,
		       pg_catalog.format('ALTER DATABASE %I CONNECTION LIMIT %s;', b.datname, b.datconnlimit + $1::integer)
		FROM pg_roles r CROSS JOIN pg_database b
		WHERE r.rolname = session_user AND b.datname = current_database()`, postgres.ConnectionsOfPair).
		Scan(&role.object, &role.limit, &role.raise, &database.object, &database.limit, &database.raise)
	return role, database, err
}

// connectionLimits checks that the limits of the role and of the database leave a relay and its
// standby their connections. How many other clients the database has is not known.
func (d *database) connectionLimits(ctx context.Context) Findings {
	const object = "connection limits"
	role, database, err := d.readConnectionLimits(ctx)
	if err != nil {
		return Findings{unknown(CodeConnections, object, err)}
	}
	var found Findings
	for _, l := range []connectionLimit{role, database} {
		if l.isLow() {
			found = append(found, degraded(CodeConnections, l.object, "%s: a task that gets none waits", l).
				with("%s", l.raise))
		}
	}
	if found == nil {
		found = Findings{passed(CodeConnections, object, "no limit of the role or of the database is below the %d "+
			"connections that a relay and its standby need", postgres.ConnectionsOfPair)}
	}
	return found
}

// unconnected explains why the server accepts no further connection of the relay: the limit of the
// role, that of the database, or that of the server. A walsender is not subject to the first two,
// but an ordinary connection precedes it.
func (d *database) unconnected(ctx context.Context, refused *pgconn.PgError, err error) Finding {
	const object = "replication connection"
	role, database, limitsErr := d.readConnectionLimits(ctx)
	reached := role
	switch {
	case limitsErr != nil:
		return unknown(CodeReplication, object, postgres.Explain(err))
	case postgres.IsDatabaseLimit(refused):
		reached = database
	case !postgres.IsRoleLimit(refused):
		return failed(CodeReplication, object, "the server has no free walsender (%s), and every relay needs one, "+
			"also as a standby: end one that no client needs (SELECT * FROM pg_stat_replication), or raise "+
			"max_wal_senders, which takes a restart", refused.Message).
			with("ALTER SYSTEM SET max_wal_senders = %d;", max(2*d.walSenders, minWALSenders)).because(err)
	}
	return failed(CodeReplication, object, "the server accepts no further connection (%s): %s",
		refused.Message, reached).with("%s", reached.raise).because(err)
}

// minWALSenders is the server's default.
const minWALSenders = 10
