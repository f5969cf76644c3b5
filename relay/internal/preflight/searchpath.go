package preflight

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// creatorsSQL returns the schemas of the search path with the grantees that may create objects
// there, apart from roles that can run code as the relay anyway. These are superusers, the owner of
// the schema, the owners of the relay's tables and of the outbox tables, whose triggers the relay
// fires, and the relay's role itself. $1 is the outbox table. For several tables it is empty, and
// $2 is their publication.
const creatorsSQL = `
	WITH trusted AS (
		SELECT c.relowner AS role FROM pg_class c
		WHERE c.oid IN (to_regclass('relay_checkpoints')::oid, to_regclass(nullif($1::text, ''))::oid)
		UNION SELECT c.relowner FROM pg_publication_tables p JOIN pg_namespace n ON n.nspname = p.schemaname
			JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename WHERE p.pubname = $2::text
	)
	SELECT pg_catalog.quote_ident(n.nspname), pg_catalog.array_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC'
		ELSE pg_catalog.quote_ident(r.rolname) END ORDER BY a.grantee)
	FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) AS a LEFT JOIN pg_roles r ON r.oid = a.grantee
	WHERE n.nspname = ANY (current_schemas(false)) AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
	  AND (a.grantee = 0 OR NOT r.rolsuper AND r.rolname <> current_user
		AND NOT pg_has_role(r.oid, n.nspowner, 'USAGE')
		AND NOT EXISTS (SELECT FROM trusted t WHERE pg_has_role(r.oid, t.role, 'USAGE')))
	GROUP BY n.nspname ORDER BY n.nspname`

// searchPath checks that no other role can create an operator or a function that Postgres prefers
// to one of pg_catalog in a session of the relay.
// https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS
func (d *database) searchPath(ctx context.Context) Findings {
	const object = "the search path"
	table, publication := d.Table.Identifier(), ""
	if d.Table.IsSeveral() {
		table, publication = "", d.Publication
	}
	rows, err := d.Pool.Query(ctx, creatorsSQL, table, publication)
	if err != nil {
		return Findings{unknown(CodeSearchPath, object, err)}
	}
	var found Findings
	var schema string
	var creators []string
	_, err = pgx.ForEachRow(rows, []any{&schema, &creators}, func() error {
		found = append(found, degraded(CodeSearchPath, "schema "+schema, "%s may create functions and operators in "+
			"schema %s, which is in the search path of the relay: these can run with the privileges of role %s",
			strings.Join(creators, ", "), schema, d.role).
			with("REVOKE CREATE ON SCHEMA %s FROM %s;", schema, strings.Join(creators, ", ")))
		return nil
	})
	if err != nil {
		return Findings{unknown(CodeSearchPath, object, err)}
	}
	if len(found) == 0 {
		found = append(found, passed(CodeSearchPath, object, "no other role may create functions in the search path"))
	}
	return found
}
