package preflight

import "context"

// replicationRole checks that the role may replicate.
func (d *database) replicationRole(ctx context.Context) Findings {
	object := "role " + d.role
	err := d.Pool.QueryRow(ctx, `
		SELECT bool_or(r.rolreplication OR r.rolsuper)
		    OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(g.oid, 'USAGE'))
		FROM pg_roles r WHERE r.rolname = current_user`).Scan(&d.replicates)
	if err != nil {
		return Findings{unknown(CodeRole, object, err)}
	}
	if !d.replicates {
		return Findings{mayNotReplicate(d.role)}
	}
	return Findings{passed(CodeRole, object, "role %s may replicate, and every finding is for this role", d.role)}
}
