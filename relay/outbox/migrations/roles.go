package migrations

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The roles of the programs. Both may log in and have no password: grant them to a role of your
// own, set a password, or connect with IAM.
const (
	Producer = "outbox_producer" // writes events
	Relay    = "outbox_relay"    // streams, reads and removes them
)

// grants are the privileges of the roles in the outbox part of the schema. A producer may not write
// seq and xid, because recovery depends on them. No role may update an event.
var grants = map[string][]string{
	Producer: {
		"INSERT (id, aggregate_type, aggregate_id, event_type, payload, headers, created_at) ON outbox_events",
	},
	Relay: {
		"SELECT, DELETE ON outbox_events", // DELETE is for retention
		"SELECT, INSERT, UPDATE ON relay_checkpoints",
		"SELECT, INSERT, UPDATE, DELETE ON outbox_dead_letters",
		"SELECT, INSERT, UPDATE ON outbox_replays",
		"SELECT, INSERT, UPDATE, DELETE ON relay_members",
		"SELECT, INSERT, UPDATE, DELETE ON relay_instances",
		"SELECT, INSERT, UPDATE, DELETE ON outbox_deferrals",
		"SELECT, INSERT, UPDATE, DELETE ON outbox_pauses",
	},
}

// GrantRoles creates the roles [Producer] and [Relay] if they do not exist, and grants them their
// privileges in the outbox part of the schema. It is idempotent. left are the statements for which
// conn's role lacks the privileges. Run them as a privileged role, then call GrantRoles again.
func GrantRoles(ctx context.Context, conn *pgx.Conn) (left []string, err error) {
	// Roles belong to the cluster and this lock to the database. It serialises concurrent
	// migrations of one database.
	const lock = `SELECT pg_advisory_lock(hashtext('outbox_roles'))`
	const unlock = `SELECT pg_advisory_unlock(hashtext('outbox_roles'))`
	if _, err := conn.Exec(ctx, lock); err != nil {
		return nil, fmt.Errorf("wait for another migration: %w", err)
	}
	defer func() {
		_, unlockErr := conn.Exec(context.WithoutCancel(ctx), unlock)
		err = errors.Join(err, unlockErr)
	}()
	for _, role := range []string{Producer, Relay} {
		refused, err := prepare(ctx, conn, role)
		if err != nil {
			return nil, fmt.Errorf("prepare the role %s: %w", role, err)
		}
		left = append(left, refused...)
		if err := Grant(ctx, conn, role, grants[role]...); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// Grant grants privileges, written as between GRANT and TO, to a role if the role exists.
func Grant(ctx context.Context, conn *pgx.Conn, role string, privileges ...string) error {
	exists, err := holds(ctx, conn, roleExists, role)
	if err != nil {
		return fmt.Errorf("look for the role %s: %w", role, err)
	}
	if !exists {
		return nil
	}
	for _, privilege := range privileges {
		if _, err := conn.Exec(ctx, "GRANT "+privilege+" TO "+role); err != nil {
			return fmt.Errorf("grant %s to %s: %w", privilege, role, err)
		}
	}
	return nil
}

const roleExists = `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`

// step sets up something outside of the tables that a role needs.
type step struct {
	statement string
	done      string // a query that reports whether the effect is present, with the role as $1
}

// steps returns the steps for a role to connect and, for the relay's role, to replicate. On RDS,
// membership in rds_replication replaces the REPLICATION attribute, and membership in rds_iam lets
// a role connect with a token.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Appendix.PostgreSQL.CommonDBATasks.Roles.html
func steps(ctx context.Context, conn *pgx.Conn, role string) ([]step, error) {
	var database, schema string
	var hasReplication, hasIAM bool
	var most int
	err := conn.QueryRow(ctx, `
		SELECT pg_catalog.quote_ident(current_database()), pg_catalog.quote_ident(current_schema()),
		       EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication'), EXISTS (SELECT FROM pg_roles
		       	WHERE rolname = 'rds_iam'),
		       current_setting('max_connections')::int`,
	).Scan(&database, &schema, &hasReplication, &hasIAM, &most)
	if err != nil {
		return nil, err
	}
	needed := []step{
		{create(role, most, hasIAM), roleExists},
		{
			"GRANT CONNECT ON DATABASE " + database + " TO " + role,
			`SELECT pg_catalog.has_database_privilege($1, current_database(), 'CONNECT')`,
		},
		{
			"GRANT USAGE ON SCHEMA " + schema + " TO " + role,
			`SELECT pg_catalog.has_schema_privilege($1, current_schema(), 'USAGE')`,
		},
	}
	switch {
	case role == Relay && hasReplication:
		needed = append(needed, membership(role, "rds_replication"))
	case role == Relay:
		needed = append(needed, step{
			"ALTER ROLE " + role + " REPLICATION",
			`SELECT rolreplication FROM pg_roles WHERE rolname = $1`,
		})
	}
	return needed, nil
}

// kept is the number of connections that producers leave to relays, migrations and operators.
const kept = 50

// create returns the statement that creates a role with all of its attributes, so that no session
// sees a role without them. An operator may change two of them later, and they keep the change: the
// connection limit, because there are many producers, and membership in rds_iam, because a member
// cannot use a password.
func create(role string, maxConnections int, hasIAM bool) string {
	statement := "CREATE ROLE " + role + " LOGIN"
	if role == Producer {
		statement += fmt.Sprintf(" CONNECTION LIMIT %d", max(maxConnections-kept, maxConnections/2))
	}
	if hasIAM {
		statement += " IN ROLE rds_iam"
	}
	return statement
}

func membership(role, group string) step {
	return step{"GRANT " + group + " TO " + role, `
		SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
			JOIN pg_roles r ON r.oid = m.member
		WHERE r.rolname = $1 AND g.rolname = '` + group + `')`}
}

// prepare runs every step and returns the statements that were refused. If the role cannot be
// created, it returns that statement alone.
func prepare(ctx context.Context, conn *pgx.Conn, role string) (refused []string, err error) {
	needed, err := steps(ctx, conn, role)
	if err != nil {
		return nil, err
	}
	for i, s := range needed {
		done := false
		if i == 0 || !slices.Contains(refused, needed[0].statement) {
			if done, err = s.apply(ctx, conn, role); err != nil {
				return nil, err
			}
		}
		if !done {
			refused = append(refused, s.statement)
		}
	}
	return refused, nil
}

// apply executes the step, and reports whether its effect is present in the end. It is not if this
// role lacks the privilege.
func (s step) apply(ctx context.Context, conn *pgx.Conn, role string) (done bool, err error) {
	if done, err := holds(ctx, conn, s.done, role); err != nil || done {
		return done, err
	}
	_, failure := conn.Exec(ctx, s.statement)
	done, err = holds(ctx, conn, s.done, role)
	if err != nil || done { // possibly by a concurrent migration of another database of the cluster
		return done, err
	}
	if refused := (*pgconn.PgError)(nil); failure == nil || errors.As(failure, &refused) &&
		refused.Code == pgerrcode.InsufficientPrivilege {
		return false, nil // a GRANT of a privilege that one does not have is a warning and no error
	}
	return false, fmt.Errorf("%s: %w", s.statement, failure)
}

func holds(ctx context.Context, conn *pgx.Conn, query, role string) (answer bool, err error) {
	err = conn.QueryRow(ctx, query, role).Scan(&answer)
	return answer, err
}
