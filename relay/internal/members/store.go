package members

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

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

// noteRead records that every row of a new table that existed at its snapshot is published. Where
// an earlier session ended before, it had read the rows up to there with an older snapshot. That
// one showed every transaction below newUntil.
func (s *Store) noteRead(ctx context.Context, j Joined) error {
	shown, all := j.Snapshot, int64(math.MaxInt64)
	if j.PassedSeq != nil && !j.isRead() {
		before, err := pgsnapshot.Parse(known(j))
		if err != nil {
			return s.failed("account for partition "+j.String(), err)
		}
		if shown = j.Known; !before.IsPast(j.newUntil) {
			shown = fmt.Sprintf("%d:%[1]d:", j.newUntil)
		}
	}
	return s.save(ctx, j, false, &all, shown)
}

// noteSafe records that a walsender that begins from now on streams every row of new members.
func (s *Store) noteSafe(ctx context.Context, relations []uint32) error {
	return s.change(ctx, "note the new tables that are streamed", `
		UPDATE relay_members k SET new_until = $5::text::xid8, updated_at = clock_timestamp() FROM relay_checkpoints c
		WHERE {fence} AND k.slot_name = c.slot_name AND k.relation = ANY ($4) AND NOT k.accounted`,
		relations, strconv.Itoa(streamedSafely))
}

func (s *Store) save(ctx context.Context, j Joined, accounted bool, passed *int64, known string) error {
	return s.change(ctx, "account for partition "+j.String(), `
		INSERT INTO relay_members (slot_name, relation, system_identifier, attached, accounted, passed_seq, known)
		SELECT c.slot_name, $4::oid, c.system_identifier, $5, $6::boolean, $7::bigint, nullif($8, '')::pg_snapshot
		FROM relay_checkpoints c WHERE {fence}
		ON CONFLICT (slot_name, relation) DO UPDATE SET system_identifier = excluded.system_identifier,
			attached = excluded.attached,
			accounted = excluded.accounted, passed_seq = excluded.passed_seq, known = excluded.known,
				updated_at = clock_timestamp(),
			requested = relay_members.requested AND relay_members.attached = excluded.attached,
			new_until = CASE WHEN relay_members.attached = excluded.attached AND NOT excluded.accounted
				AND relay_members.system_identifier = excluded.system_identifier THEN relay_members.new_until END`,
		j.Relation, j.Attached, accounted, passed, known)
}

// Doubt marks each relation that is no member now as one whose rows are not accounted for. It is
// for a session that recovers from the tables that it has, without the log: if a renamed table gets
// its name back, it counts as a new table, and its rows are read from it.
func (s *Store) Doubt(ctx context.Context) error {
	_, err := s.exec(ctx, "doubt relations that are renamed", `
		WITH {members}
		UPDATE relay_members k SET accounted = false, attached = '', known = coalesce(k.known, c.recover_from),
			updated_at = clock_timestamp() FROM relay_checkpoints c
		WHERE {fence} AND k.slot_name = c.slot_name AND k.accounted
		  AND NOT EXISTS (SELECT FROM member m WHERE m.relation = k.relation)`)
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

// change is exec for a statement that changes a row, unless this relay no longer holds the slot. It
// then returns [slot.ErrFenced].
func (s *Store) change(ctx context.Context, what, statement string, args ...any) error {
	changed, err := s.exec(ctx, what, statement, args...)
	if err == nil && changed == 0 {
		err = s.failed(what, slot.ErrFenced)
	}
	return err
}

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

// NoteUnlogged stores that these outbox tables were UNLOGGED. They are other members once they are
// LOGGED again, because the log lacks the rows of that time. The members of a table show that by
// themselves only while the publication has the table.
func (s *Store) NoteUnlogged(ctx context.Context, relations []uint32) error {
	_, err := s.exec(ctx, "note the unlogged tables", `
		UPDATE relay_members k SET attached = k.attached || '/u', updated_at = clock_timestamp()
		FROM relay_checkpoints c
		WHERE {fence} AND k.slot_name = c.slot_name AND k.relation = ANY ($4) AND k.attached NOT LIKE '%/u'`, relations)
	return err
}
