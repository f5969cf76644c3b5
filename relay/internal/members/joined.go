package members

import (
	"context"
	"math"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

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
	// rootRelation is the oid of the outbox table, whose name another one may have had before.
	rootRelation uint32
	// isNew: no member of that table was accounted for when this one was found. Members that are
	// found together stay new together, also if the relay ends between two of them.
	isNew bool
	// newUntil is the next transaction id when a new member was found; 0 until that is stored, and
	// [streamedSafely] once a walsender that begins streams every row.
	newUntil uint64
	// restartLSN is where the server decodes the log from for the next walsender.
	restartLSN pglogrepl.LSN
}

// Joined returns the members that are not accounted for.
func (s *Store) Joined(ctx context.Context) ([]Joined, error) {
	rows, err := s.pool.Query(ctx, s.sql(`
		WITH {members}
		SELECT m.relation, n.nspname, c.relname, m.attached, m.relation = m.root,
		       m.root, rn.nspname, rc.relname, CASE WHEN k.attached = m.attached THEN k.new_until IS NOT NULL
				ELSE NOT EXISTS (
					SELECT FROM relay_members o JOIN member om ON om.relation = o.relation AND om.attached = o.attached
					WHERE o.slot_name = $1 AND o.accounted AND om.root = m.root) END,
		       coalesce(CASE WHEN k.attached = m.attached THEN k.new_until END::text, '0')::bigint,
		       pg_catalog.has_table_privilege(m.relation, 'SELECT') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
		       coalesce(k.requested AND k.attached = m.attached, false),
		       CASE WHEN k.attached = m.attached THEN k.passed_seq END,
		       coalesce(k.known::text, ''), pg_current_snapshot()::text, pg_current_wal_insert_lsn(),
		       coalesce((SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = $1), '0/0')
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
		err = row.Scan(&j.Relation, &j.Schema, &j.Name, &j.Attached, &j.IsRoot,
			&j.rootRelation, &root.Schema, &root.Name,
			&j.isNew, &j.newUntil, &j.IsReadable, &j.IsRequested, &j.PassedSeq,
			&j.Known, &j.Snapshot, &j.InsertLSN, &j.restartLSN)
		j.root = root.String()
		return j, err
	})
	if err != nil {
		return nil, s.failed("look for partitions", err)
	}
	return joined, nil
}

// Condition is an SQL condition for the rows of j that are possibly not in the log. Its arguments
// begin at $4. It selects the rows that existed at j.Snapshot, except those of transactions below
// the xmin of j.Known. So it also selects the rows of later transactions that j.Known shows, and
// [Joiner.Brought] has most of these. The transaction that wrote the row version decides, whatever
// the row's xid is. A savepoint's transaction id is above its parent's, which the row's xid names.
// An xid that this cluster has not assigned belongs to another cluster.
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
	if err := s.pool.QueryRow(ctx, `SELECT coalesce(pg_catalog.pg_relation_size($1::oid::regclass) = 0, true)`,
		j.Relation).Scan(&empty); err != nil {
		return false, s.failed("look for rows in partition "+j.String(), err)
	}
	return empty, nil
}

// HasTwin reports for each seq whether another member has a row with the same seq. The seq then
// does not identify the row that the log brought.
func (s *Store) HasTwin(ctx context.Context, j Joined, seqs []int64) (map[int64]bool, error) {
	rows, err := s.pool.Query(ctx, named(s.of(j), `
		SELECT DISTINCT e.{seq} FROM {table} e WHERE e.{seq} = ANY ($1::bigint[]) AND e.tableoid <> $2`),
		seqs, j.Relation)
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

// After returns the seq after which the rows of j still have to be read.
func (j Joined) After() int64 {
	if j.PassedSeq == nil || j.isRead() {
		return math.MinInt64
	}
	return *j.PassedSeq
}

// String returns schema.name.
func (j Joined) String() string { return j.Schema + "." + j.Name }
