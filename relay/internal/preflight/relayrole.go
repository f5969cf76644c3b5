package preflight

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
)

// These statements find the role of the relay of a slot. The walsender that streams from the slot
// proves it, if its application_name ($2) is that of a relay: Debezium's connector may hold the
// slot that a relay takes over. Without one, the last report of a relay names it. A role that may
// not read the reports gets no answer from them.
const (
	walsenderRoleSQL = `
		SELECT coalesce((
				SELECT a.usename::text FROM pg_replication_slots s
				JOIN pg_stat_activity a ON a.pid = s.active_pid
				WHERE s.slot_name = $1 AND a.application_name = $2
			), ''), current_user::text,
			coalesce(pg_catalog.has_table_privilege(to_regclass('relay_instances'), 'SELECT'), false)`
	reportedRoleSQL = `
		SELECT coalesce((SELECT report->>'role' FROM relay_instances
			WHERE slot_name = $1 AND report->>'role' IS NOT NULL ORDER BY reported_at DESC LIMIT 1), '')`
)

// mayReplicateSQL reports whether a role may replicate.
const mayReplicateSQL = `
	SELECT pg_catalog.quote_ident(r.rolname), r.rolreplication OR r.rolsuper OR EXISTS (
		SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'USAGE'))
	FROM pg_roles r WHERE r.rolname = $1`

// RelayRole says whether the relay of the slot connects as another role than this check, whose
// findings are those of its own role. It reports nothing where both are the same, or where no relay
// of the slot is known.
func RelayRole(ctx context.Context, pool *pgxpool.Pool, slot string, progress Progress) Findings {
	return Requirement{databaseOf(pool), func(ctx context.Context) Findings {
		found, err := relayRole(ctx, pool, slot)
		if err != nil {
			return Findings{unknown(CodeRole, "slot "+slot, err)}
		}
		return found
	}}.Run(ctx, progress)
}

func relayRole(ctx context.Context, pool *pgxpool.Pool, slot string) (Findings, error) {
	var role, own string
	var hasReports, replicates bool
	application := replication.ApplicationName(slot)
	if err := pool.QueryRow(ctx, walsenderRoleSQL, slot, application).Scan(&role, &own, &hasReports); err != nil {
		return nil, err
	}
	if role == "" && hasReports {
		if err := pool.QueryRow(ctx, reportedRoleSQL, slot).Scan(&role); err != nil {
			return nil, err
		}
	}
	if role == "" || role == own {
		return nil, nil
	}
	object := "role " + role
	found := Findings{degraded(CodeRole, object, "the relay of slot %s connects as %s, and this check as %s: a "+
		"privilege that %[2]s lacks is no finding. Check with the user %[2]s in DATABASE_URL", slot, role, own)}
	var quoted string
	rows, err := pool.Query(ctx, mayReplicateSQL, role)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return append(found, failed(CodeRole, object, "the relay of slot %s connects as role %s, which does not "+
			"exist: create the role, or change the user in the relay's DATABASE_URL", slot, role)), rows.Err()
	}
	if err := rows.Scan(&quoted, &replicates); err != nil {
		return nil, err
	}
	if !replicates {
		found = append(found, mayNotReplicate(quoted))
	}
	return found, nil
}

// mayNotReplicate is the finding of a role, whose name is quoted.
func mayNotReplicate(role string) Finding {
	return failed(CodeRole, "role "+role, "role %s may not replicate (on RDS: GRANT rds_replication TO %[1]s)", role).
		with("ALTER ROLE %s REPLICATION;", role)
}
