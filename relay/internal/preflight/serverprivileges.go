package preflight

import (
	"context"
	"strings"
)

// used are functions and relations of pg_catalog. Every role may use them unless a hardened server
// revokes that. A role needs the functions inside a view too.
type used struct{ functions, relations []string }

// always are those that every session of a relay uses. Without pg_backend_pid and
// pg_table_is_visible, the check has no connection, and its error names them.
var always = used{
	functions: []string{
		"pg_control_system", "pg_current_snapshot", "pg_current_wal_flush_lsn",
		"pg_current_wal_insert_lsn", "pg_current_wal_lsn", "pg_current_xact_id", "pg_get_expr",
		"pg_get_publication_tables", "pg_get_replication_slots", "pg_get_userbyid", "pg_has_role",
		"pg_is_in_recovery", "pg_partition_ancestors", "pg_partition_tree", "pg_relation_size", "pg_size_bytes",
		"pg_snapshot_xip", "pg_snapshot_xmax", "pg_snapshot_xmin", "pg_stat_get_tuples_updated",
		"pg_visible_in_snapshot", "pg_wal_lsn_diff",
	},
	relations: []string{
		"pg_am", "pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_database", "pg_depend", "pg_index",
		"pg_inherits", "pg_namespace", "pg_publication", "pg_publication_namespace", "pg_publication_rel",
		"pg_publication_tables", "pg_range", "pg_replication_slots", "pg_roles", "pg_sequence", "pg_type",
	},
}

// sometimes are those of some steps: the creation of a slot waits for transactions, and a recovery
// cancels the copy of the relay's own walsender.
var sometimes = used{
	functions: []string{
		"pg_cancel_backend", "pg_drop_replication_slot", "pg_prepared_xact", "pg_stat_get_activity",
	},
	relations: []string{"pg_prepared_xacts", "pg_stat_activity"},
}

// serverPrivileges checks that the role may use the functions and relations of the server.
func (d *database) serverPrivileges(ctx context.Context) Findings {
	const object = "server privileges"
	var found Findings
	for _, needed := range []struct {
		used    used
		finding func(code Code, object, format string, args ...any) Finding
		by      string
	}{
		{always, failed, "every session of the relay"},
		{sometimes, degraded, "the creation of the slot or a recovery"},
	} {
		missing, grants, err := d.missing(ctx, needed.used)
		switch {
		case err != nil:
			return append(found, unknown(CodePrivileges, object, err))
		case missing != "":
			found = append(found, needed.finding(CodePrivileges, object, "role %s may not use %s, which %s needs",
				d.role, missing, needed.by).with("%s", grants))
		}
	}
	if found == nil {
		found = Findings{passed(CodePrivileges, object, "role %s may use the functions and views of the server "+
			"that the relay needs", d.role)}
	}
	return found
}

// missing lists what the role may not use, with the statements that grant it.
func (d *database) missing(ctx context.Context, u used) (missing, grants string, err error) {
	var functions, relations []string
	err = d.Pool.QueryRow(ctx, `
		SELECT ARRAY(SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
			WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY ($1::text[])
			  AND NOT pg_catalog.has_function_privilege(p.oid, 'EXECUTE') ORDER BY 1),
		       ARRAY(SELECT c.oid::regclass::text FROM pg_catalog.pg_class c
			WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relname = ANY ($2::text[])
			  AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') ORDER BY 1)`,
		u.functions, u.relations).Scan(&functions, &relations)
	if err != nil {
		return "", "", err
	}
	var statements []string
	if len(functions) > 0 {
		statements = append(statements, "GRANT EXECUTE ON FUNCTION "+strings.Join(functions, ", ")+" TO "+d.role+";")
	}
	if len(relations) > 0 {
		statements = append(statements, "GRANT SELECT ON "+strings.Join(relations, ", ")+" TO "+d.role+";")
	}
	return strings.Join(append(functions, relations...), ", "), strings.Join(statements, " "), nil
}
