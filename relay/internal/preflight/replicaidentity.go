package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// replicaIdentity checks that rows can be updated and deleted if a publication streams such
// changes. Postgres refuses both on a table without a replica identity.
// https://www.postgresql.org/docs/current/logical-replication-publication.html#LOGICAL-REPLICATION-PUBLICATION-REPLICA-IDENTITY
func (d *database) replicaIdentity(ctx context.Context) Findings {
	if d.columns == nil {
		return nil
	}
	lacking, err := d.withoutIdentity(ctx)
	if err != nil {
		return Findings{unknown(CodeIdentity, d.tableObject(), err)}
	}
	if d.Removes {
		if refusal, err := d.refusesDelete(ctx); err != nil {
			return Findings{unknown(CodeIdentity, d.tableObject(), err)}
		} else if refusal != "" {
			return Findings{failed(CodeIdentity, d.tableObject(), "table %s: RELAY_RETENTION is set, and no row can "+
				"be deleted: %s. The application's own UPDATE or DELETE fails as well", d.tableName(), refusal).
				with("%s", d.identityFix(lacking))}
		}
	}
	if len(lacking.publications) > 0 {
		return Findings{degraded(CodeIdentity, d.tableObject(), "table %s has no replica identity, and the "+
			"publication %s "+
			"streams updates or deletes: Postgres refuses the application's own UPDATE or DELETE on it",
			d.tableName(), strings.Join(lacking.publications, ", ")).
			with("%s", d.identityFix(lacking))}
	}
	return Findings{passed(CodeIdentity, d.tableObject(), "table %s: no publication prevents UPDATE or DELETE",
		d.tableName())}
}

// refusesDelete returns the reason for which the server refuses a DELETE. EXPLAIN changes no row,
// and checks the replica identity of every partition like the DELETE.
func (d *database) refusesDelete(ctx context.Context) (reason string, err error) {
	_, err = d.Pool.Exec(ctx, `EXPLAIN DELETE FROM `+d.Table.Identifier())
	refused := (*pgconn.PgError)(nil)
	switch {
	case !errors.As(err, &refused):
		return "", err
	case refused.Code == pgerrcode.InsufficientPrivilege: // retention reports it
		return "", nil
	}
	return refused.Message, nil
}

// identityLack names the publications that stream updates or deletes, and their tables without a
// replica identity.
type identityLack struct {
	publications []string
	tables       []string // quoted: the outbox table, or its partitions
}

// withoutIdentity examines the table or its partitions, with the publications that contain them or
// a table above them.
func (d *database) withoutIdentity(ctx context.Context) (identityLack, error) {
	var lack identityLack
	err := d.Pool.QueryRow(ctx, `
		WITH leaf AS (
			SELECT c.oid, c.relnamespace FROM pg_class c
			WHERE c.relkind = 'r' AND (
				c.oid = $1 OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree($1) WHERE isleaf))
			  AND c.relreplident <> 'f'
			  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
			                  AND CASE c.relreplident WHEN 'd' THEN i.indisprimary
			                      WHEN 'i' THEN i.indisreplident ELSE false END)
		), streamed AS (
			SELECT leaf.oid, pg_catalog.quote_ident(p.pubname) AS publication FROM leaf
			CROSS JOIN LATERAL (
				SELECT leaf.oid AS relid UNION SELECT relid FROM pg_catalog.pg_partition_ancestors(leaf.oid)) AS above
			JOIN pg_class c ON c.oid = above.relid
			JOIN pg_publication p ON (p.pubupdate OR p.pubdelete) AND (p.puballtables
			     OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
			     OR EXISTS (SELECT FROM pg_publication_namespace n
			                WHERE n.pnpubid = p.oid AND n.pnnspid = c.relnamespace))
		)
		SELECT coalesce(pg_catalog.array_agg(DISTINCT publication ORDER BY publication), '{}'),
		       coalesce((SELECT pg_catalog.array_agg(pg_catalog.format('%I.%I', n.nspname, c.relname) ORDER BY c.oid)
		        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		        WHERE c.oid IN (SELECT oid FROM streamed)), '{}')
		FROM streamed`, d.oid).Scan(&lack.publications, &lack.tables)
	if err != nil {
		return lack, fmt.Errorf("look for its replica identity: %w", err)
	}
	return lack, nil
}

// identityFix returns the statement after which rows can be deleted. The relay needs only inserts,
// so its own publication should stream nothing else.
func (d *database) identityFix(lack identityLack) string {
	own := outboxtable.Quote(d.Publication)
	if len(lack.publications) == 0 ||
		len(lack.publications) == 1 && strings.Trim(lack.publications[0], `"`) == d.Publication {
		return "ALTER PUBLICATION " + own + " SET (publish = 'insert');"
	}
	var statements []string
	for _, table := range lack.tables {
		statements = append(statements, "ALTER TABLE "+table+" REPLICA IDENTITY FULL;")
	}
	return strings.Join(statements, " ")
}
