// Package members tracks the relations that hold the rows of an outbox table, and for each relation
// whether a slot has accounted for every row. An attached partition adds rows to the table that are
// not in the log.
package members

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Look resolves the columns of t against the existing columns. It also sets t.Only, unless the
// table is partitioned, and reads the row filter of the publication, where the operator accepts
// one.
//
// For several tables, Look finds those that exist and that the publication has.
func Look(ctx context.Context, pool *pgxpool.Pool, t outboxtable.Table) (outboxtable.Table, error) {
	if t.IsSeveral() {
		return lookSeveral(ctx, pool, t)
	}
	var partitioned bool
	var columns []string
	err := pool.QueryRow(ctx, `
		SELECT coalesce((SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass($1)), false),
		       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0
		       	AND NOT attisdropped),
		       coalesce((SELECT pg_get_expr(r.prqual, r.prrelid) FROM pg_publication_rel r
		       	JOIN pg_publication p ON p.oid = r.prpubid
		       	WHERE p.pubname = $2 AND r.prrelid = to_regclass($1)), '')`,
		t.Identifier(), t.FilteredBy).Scan(&partitioned, &columns, &t.Filter)
	if err != nil {
		return t, fmt.Errorf("look at table %s: %w", t, err)
	}
	t.Only = !partitioned
	return t.Resolve(columns), nil
}

// Register marks every member as accounted for, if the slot has a checkpoint and no members in this
// cluster. That is the case at a first start, and after a relay of a version without members. The
// first start or the horizon decides about the rows of these members. Of several tables these are
// the ones that the first start stored, until a session has noted their relations, and the ones
// that the slot had in another cluster. Every other one is new, and its rows are brought. Register
// needs no fence, because it changes no existing entry.
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

// Store stores the members that are accounted for, for the relay that holds the slot.
type Store struct {
	pool  *pgxpool.Pool
	fence slot.Fence
	table outboxtable.Table
}

// NewStore returns a Store for the relay that owns the fence.
func NewStore(pool *pgxpool.Pool, fence slot.Fence, table outboxtable.Table) *Store {
	return &Store{pool: pool, fence: fence, table: table}
}

// Joined is a member whose rows are not accounted for.
type Joined struct {
	Relation     uint32 // oid
	Schema, Name string
	Attached     string
	// IsRoot: it is the outbox table itself, which has replaced another relation, or which is new
	// among several.
	IsRoot      bool
	IsReadable  bool   // by its own name; every member is readable through the outbox table
	IsRequested bool   // an operator requested its rows, even if the relay would halt at them
	PassedSeq   *int64 // rows up to it are accounted for; nil: none
	Known       string // pg_snapshot at the end of its previous membership; empty if there was none
	// Snapshot shows the rows of Joined in the table. Every transaction that is visible in it is in
	// the log before InsertLSN.
	Snapshot  string
	InsertLSN pglogrepl.LSN
	root      string // the outbox table, as schema.name
	isNew     bool   // no member of that table is accounted for
}

// Joined returns the members that are not accounted for.
func (s *Store) Joined(ctx context.Context) ([]Joined, error) {
	rows, err := s.pool.Query(ctx, s.sql(`
		WITH {members}
		SELECT m.relation, n.nspname, c.relname, m.attached, m.relation = m.root,
		       rn.nspname, rc.relname, NOT EXISTS (
				SELECT FROM relay_members o JOIN member om ON om.relation = o.relation AND om.attached = o.attached
				WHERE o.slot_name = $1 AND o.accounted AND om.root = m.root),
		       has_table_privilege(m.relation, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'), coalesce(k.requested
		       	AND k.attached = m.attached, false),
		       CASE WHEN k.attached = m.attached THEN k.passed_seq END,
		       coalesce(k.known::text, ''), pg_current_snapshot()::text, pg_current_wal_insert_lsn()
		FROM member m JOIN pg_class c ON c.oid = m.relation JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_class rc ON rc.oid = m.root JOIN pg_namespace rn ON rn.oid = rc.relnamespace
		LEFT JOIN relay_members k ON k.slot_name = $1 AND k.relation = m.relation AND
			k.system_identifier = `+outboxtable.SystemSQL+`
		WHERE k.relation IS NULL OR NOT k.accounted OR k.attached <> m.attached
		ORDER BY m.relation`), s.fence.Slot)
	if err != nil {
		return nil, s.failed("look for partitions", err)
	}
	joined, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (j Joined, err error) {
		var root outboxtable.Table
		err = row.Scan(&j.Relation, &j.Schema, &j.Name, &j.Attached, &j.IsRoot, &root.Schema, &root.Name, &j.isNew,
			&j.IsReadable, &j.IsRequested,
			&j.PassedSeq, &j.Known, &j.Snapshot, &j.InsertLSN)
		j.root = root.String()
		return j, err
	})
	if err != nil {
		return nil, s.failed("look for partitions", err)
	}
	return joined, nil
}

// Condition is an SQL condition for the rows of j that are possibly not in the log. Its arguments
// begin at $4. It selects the rows that existed at j.Snapshot and that were not written by a
// transaction visible in j.Known. The transaction that wrote the row version decides, whatever the
// row's xid is. A savepoint's transaction id is above its parent's, which the row's xid names. An
// xid that this cluster has not assigned belongs to another cluster.
func (s *Store) Condition(j Joined) (condition string, args []any) {
	writer := outboxtable.WriterSQL("xmin") + "::text::xid8"
	return strings.NewReplacer("{writer}", writer, "{xid}", outboxtable.Quote(s.of(j).Columns.XID)).Replace(`
		tableoid = $6 AND pg_visible_in_snapshot({writer}, $4::pg_snapshot)
		AND (pg_visible_in_snapshot({xid}, $4::pg_snapshot) OR {xid} >= pg_snapshot_xmax($4::pg_snapshot))
		AND NOT ({writer} < pg_snapshot_xmin($5::pg_snapshot))`), []any{j.Snapshot, known(j), j.Relation}
}

// Table returns the table from which the rows of j are read, among the rows of other members: see
// [Store.Condition]. Reading a partition by its own name is much cheaper, but a role that may read
// the outbox table may lack that privilege.
func (s *Store) Table(j Joined) outboxtable.Table {
	table := s.of(j)
	if j.IsReadable {
		table.Schema, table.Name, table.Only = j.Schema, j.Name, true
	}
	return table
}

// of returns the outbox table that j is a member of.
func (s *Store) of(j Joined) outboxtable.Table {
	if table, found := s.table.Named(j.root); found {
		return table
	}
	return s.table
}

// known is the snapshot up to which rows of j are accounted for. At first it is empty.
func known(j Joined) string {
	if j.Known == "" {
		return "3:3:"
	}
	return j.Known
}

// IsEmpty reports whether j has no row, at a moment at which j is a member. Later rows are in the
// log. The size of the file tells without a privilege to read the table.
func (s *Store) IsEmpty(ctx context.Context, j Joined) (bool, error) {
	var empty bool
	if err := s.pool.QueryRow(ctx, `SELECT coalesce(pg_relation_size($1::oid::regclass) = 0, true)`,
		j.Relation).Scan(&empty); err != nil {
		return false, s.failed("look for rows in partition "+j.String(), err)
	}
	return empty, nil
}

// HasTwin reports for each seq whether another member has a row with the same seq. The seq then
// does not identify the row that the log brought.
func (s *Store) HasTwin(ctx context.Context, j Joined, seqs []int64) (map[int64]bool, error) {
	rows, err := s.pool.Query(ctx, named(s.of(j), `
		SELECT DISTINCT e.{seq} FROM {table} e WHERE e.{seq} = ANY ($1) AND e.tableoid <> $2`), seqs, j.Relation)
	if err != nil {
		return nil, s.failed("compare the seqs of partition "+j.String(), err)
	}
	twins, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, s.failed("compare the seqs of partition "+j.String(), err)
	}
	twin := make(map[int64]bool, len(twins))
	for _, seq := range twins {
		twin[seq] = true
	}
	return twin, nil
}

// Passed records that every row of j up to seq is accounted for. It returns [slot.ErrFenced] if
// this relay no longer holds the slot.
func (s *Store) Passed(ctx context.Context, j Joined, seq int64) error {
	return s.save(ctx, j, false, &seq, j.Known)
}

// Account records that every row of j that existed at its snapshot is accounted for, under the same
// condition.
func (s *Store) Account(ctx context.Context, j Joined) error {
	return s.save(ctx, j, true, nil, j.Snapshot)
}

func (s *Store) save(ctx context.Context, j Joined, accounted bool, passed *int64, known string) error {
	changed, err := s.exec(ctx, "account for partition "+j.String(), `
		INSERT INTO relay_members (slot_name, relation, system_identifier, attached, accounted, passed_seq, known)
		SELECT c.slot_name, $4::oid, c.system_identifier, $5, $6::boolean, $7::bigint, nullif($8, '')::pg_snapshot
		FROM relay_checkpoints c WHERE {fence}
		ON CONFLICT (slot_name, relation) DO UPDATE SET system_identifier = excluded.system_identifier,
			attached = excluded.attached,
			accounted = excluded.accounted, passed_seq = excluded.passed_seq, known = excluded.known,
				updated_at = clock_timestamp(),
			requested = relay_members.requested AND relay_members.attached = excluded.attached`,
		j.Relation, j.Attached, accounted, passed, known)
	if err == nil && changed == 0 {
		err = s.failed("account for partition "+j.String(), slot.ErrFenced)
	}
	return err
}

// Refresh records the horizon up to which the rows of each member are accounted for, and removes
// dropped relations. The horizon is older than this statement, and the statement sees that the
// relation is still a member. So every row that is visible in the horizon was written while the
// relation was a member.
func (s *Store) Refresh(ctx context.Context) error {
	_, err := s.exec(ctx, "note which partitions are accounted for", `
		WITH {members}
		UPDATE relay_members k SET known = c.horizon, updated_at = clock_timestamp() FROM relay_checkpoints c, member m
		WHERE {fence} AND k.slot_name = c.slot_name AND k.relation = m.relation AND k.attached = m.attached AND
			k.accounted`)
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, `DELETE FROM relay_members k WHERE k.slot_name = $1 AND NOT EXISTS (SELECT FROM `+
		`pg_class c WHERE c.oid = k.relation)`,
		s.fence.Slot)
	if err != nil {
		return s.failed("forget partitions that are dropped", err)
	}
	return nil
}

// After returns the seq after which the rows of j still have to be read.
func (j Joined) After() int64 {
	if j.PassedSeq == nil {
		return math.MinInt64
	}
	return *j.PassedSeq
}

// String returns schema.name.
func (j Joined) String() string { return j.Schema + "." + j.Name }

// exec runs a statement after inserting the fence at {fence}, and returns the number of changed
// rows.
func (s *Store) exec(ctx context.Context, what, statement string, args ...any) (changed int64, err error) {
	tag, err := s.pool.Exec(ctx, strings.ReplaceAll(s.sql(statement), "{fence}", slot.FenceSQL),
		s.fence.Args(args...)...)
	if err != nil {
		return 0, s.failed(what, err)
	}
	return tag.RowsAffected(), nil
}

func (s *Store) failed(what string, err error) error {
	return fmt.Errorf("%s of table %s: %w", what, s.table, err)
}

func (s *Store) sql(statement string) string { return named(s.table, statement) }

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
// not accounted for.
func Open(ctx context.Context, pool *pgxpool.Pool, slotName string) ([]string, error) {
	rows, err := pool.Query(ctx, `
		SELECT relation::regclass::text FROM relay_members WHERE slot_name = $1 AND NOT accounted
		  AND system_identifier = `+outboxtable.SystemSQL+` ORDER BY relation`, slotName)
	if err != nil {
		return nil, fmt.Errorf("look for partitions of slot %s: %w", slotName, err)
	}
	open, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for partitions of slot %s: %w", slotName, err)
	}
	return open, nil
}
