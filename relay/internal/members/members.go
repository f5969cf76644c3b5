// Package members tracks which relations hold the rows of an outbox table. If a relation is
// attached or added with rows that are not in the log, the package publishes them once, and the
// slot has then accounted for the relation.
package members

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Look resolves the columns of t against the existing columns. It also sets t.Only, unless the
// table is partitioned, and reads the row filter of the publication, where the operator accepts
// one. It reads the text of a filter that t has already from t, because pg_get_expr waits for a
// lock on the table.
//
// For several tables, Look finds those that exist and that the publication has.
func Look(ctx context.Context, pool *pgxpool.Pool, t outboxtable.Table) (outboxtable.Table, error) {
	if t.IsSeveral() {
		return lookSeveral(ctx, pool, t)
	}
	var partitioned bool
	var columns []string
	err := pool.QueryRow(ctx, `
		SELECT coalesce(to_regclass($1)::oid, 0),
		       coalesce((SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass($1)), false),
		       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0
		       	AND NOT attisdropped),
		       coalesce(CASE WHEN f.digest = $3 THEN $4 ELSE pg_get_expr(f.prqual, f.prrelid) END, ''),
		       coalesce(f.digest, '')
		FROM (SELECT) AS one LEFT JOIN (
			SELECT r.prqual, r.prrelid, `+slot.FilterDigestSQL("r")+` AS digest FROM pg_publication_rel r
			JOIN pg_publication p ON p.oid = r.prpubid
			WHERE p.pubname = $2 AND r.prrelid = to_regclass($1)) AS f ON true`,
		t.Identifier(), t.FilteredBy, t.FilterDigest, t.Filter).
		Scan(&t.Relation, &partitioned, &columns, &t.Filter, &t.FilterDigest)
	if err != nil {
		return t, fmt.Errorf("look at table %s: %w", t, err)
	}
	t.Only = !partitioned
	return t.Resolve(columns), nil
}

// Register marks every member as accounted for, if the slot has a checkpoint and no members in this
// cluster. That is the case at a first start, and after a relay of a version without members. The
// first start or the horizon decides about the rows of these members.
//
// Of several tables, Register marks only those that the checkpoint row names. After a first start
// it does so until a session has noted their relations. After a move to another cluster it marks
// those that the slot had there. Every other table is new, and the relay publishes its rows.
// Register needs no fence, because it changes no existing entry.
func Register(ctx context.Context, pool *pgxpool.Pool, slotName string, table outboxtable.Table) error {
	names, relations := table.Names(), []uint32{}
	for _, one := range table.Each() {
		relations = append(relations, one.Relation)
	}
	_, err := pool.Exec(ctx, named(table, `
		WITH {members}
		INSERT INTO relay_members (slot_name, relation, system_identifier, attached, accounted, known)
		SELECT c.slot_name, m.relation, c.system_identifier, m.attached, true, c.horizon
		FROM member m, relay_checkpoints c
		WHERE c.slot_name = $1 AND (c.tables IS NULL OR m.root IN (
				SELECT t.relation FROM unnest($2::text[], $3::oid[]) AS t (name, relation)
				WHERE t.name = ANY (c.tables))
			AND (c.table_relations IS NULL OR EXISTS (
				SELECT FROM relay_members o
				WHERE o.slot_name = c.slot_name AND o.system_identifier <> c.system_identifier)))
		  AND NOT EXISTS (
			SELECT FROM relay_members k WHERE k.slot_name = c.slot_name AND k.system_identifier = c.system_identifier)
		ON CONFLICT (slot_name, relation) DO UPDATE SET system_identifier = excluded.system_identifier,
			attached = excluded.attached,
			accounted = true, passed_seq = NULL, known = excluded.known, updated_at = clock_timestamp()`),
		slotName, names, relations)
	if err != nil {
		return fmt.Errorf("register the partitions of table %s: %w", table, err)
	}
	return nil
}

// named inserts the names of the table into a statement.
func named(t outboxtable.Table, statement string) string {
	return strings.NewReplacer("{table}", t.From(), "{seq}", outboxtable.Quote(t.Columns.Sequence),
		"{members}", outboxtable.MembersSQL(t)).Replace(statement)
}

// Request tells the slot's relay to publish the rows of the partitions that [Open] returns, even if
// its settings make it halt at them.
func Request(ctx context.Context, pool *pgxpool.Pool, slotName string) error {
	_, err := pool.Exec(ctx, `UPDATE relay_members SET requested = true WHERE slot_name = $1 AND NOT accounted`,
		slotName)
	if err != nil {
		return fmt.Errorf("ask for the partitions of slot %s: %w", slotName, err)
	}
	return nil
}

// Open returns the partitions, as schema.name, that a relay has found and whose rows the slot has
// not accounted for. [Waiting] returns the new tables of several that wait for transactions.
func Open(ctx context.Context, pool *pgxpool.Pool, slotName string) ([]string, error) {
	open, err := unaccounted(ctx, pool, slotName, `(new_until IS NULL OR passed_seq < 9223372036854775807)`)
	if err != nil {
		return nil, fmt.Errorf("look for partitions of slot %s: %w", slotName, err)
	}
	return open, nil
}

// unaccounted returns the relations, as schema.name, that the slot has not accounted for and that a
// condition selects.
func unaccounted(ctx context.Context, pool *pgxpool.Pool, slotName, condition string) ([]string, error) {
	rows, err := pool.Query(ctx, `
		SELECT relation::regclass::text FROM relay_members WHERE slot_name = $1 AND NOT accounted AND `+condition+`
		  AND system_identifier = `+outboxtable.SystemSQL+` ORDER BY relation`, slotName)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
