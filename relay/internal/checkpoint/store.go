package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Store reads and writes the checkpoint row of one slot.
type Store struct {
	pool *pgxpool.Pool
	name string // name of the slot
}

// NewStore returns the Store of a slot.
func NewStore(pool *pgxpool.Pool, name string) *Store { return &Store{pool: pool, name: name} }

// rowColumns are the columns in the order that scanRow expects.
const rowColumns = `c.slot_name, c.outbox_table, c.epoch, c.system_identifier,
	coalesce(c.flush_lsn, '0/0'), coalesce(c.tx_commit_lsn, '0/0'), coalesce(c.tx_delivered, 0),
		coalesce(c.tx_last_event_id, ''),
	coalesce(c.recovered_seq, 0), coalesce(c.horizon::text, ''), coalesce(c.publication_fingerprint, ''),
	coalesce(c.recover_from::text, ''), coalesce(c.recover_to::text, ''), coalesce(c.recover_since::text, ''),
	coalesce(c.recover_until, '0/0'), c.updated_at, c.tables, coalesce(c.emitted, '')`

func scanRow(row pgx.Row) (*Row, error) {
	var r Row
	var recovery Recovery
	p := &r.Position
	err := row.Scan(&r.Slot, &r.Table, &r.Epoch, &r.SystemIdentifier,
		&p.FlushLSN, &p.Transaction.CommitLSN, &p.Transaction.Delivered, &p.Transaction.LastEventID,
		&p.RecoveredSeq, &r.Horizon, &r.Fingerprint, &recovery.From, &recovery.To, &recovery.Since,
		&recovery.Until, &r.UpdatedAt, &r.Tables, &r.Emitted)
	if err != nil {
		return nil, err
	}
	if recovery.From != "" {
		r.Recovery = &recovery
	}
	return &r, nil
}

// Load returns the row, or nil if there is no row.
func (s *Store) Load(ctx context.Context) (*Row, error) {
	row, err := scanRow(s.pool.QueryRow(ctx, `SELECT `+rowColumns+` FROM relay_checkpoints c WHERE c.slot_name = $1`,
		s.name))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load checkpoint of slot %s: %w", s.name, err)
	}
	return row, nil
}

// Claim raises the epoch for the relay whose walsender holds the slot. It returns the fence of that
// relay and the new row. It returns [slot.ErrFenced] if another process holds the slot.
func (s *Store) Claim(ctx context.Context, pid uint32) (slot.Fence, *Row, error) {
	row, err := scanRow(s.pool.QueryRow(ctx, `
		UPDATE relay_checkpoints c SET epoch = c.epoch + 1, updated_at = clock_timestamp()
		WHERE c.slot_name = $1 AND EXISTS (
			SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $2)
		RETURNING `+rowColumns, s.name, int64(pid)))
	if errors.Is(err, pgx.ErrNoRows) {
		return slot.Fence{}, nil, fmt.Errorf("claim slot %s: %w", s.name, slot.ErrFenced)
	}
	if err != nil {
		return slot.Fence{}, nil, fmt.Errorf("claim slot %s: %w", s.name, err)
	}
	return slot.Fence{Slot: s.name, Epoch: row.Epoch, PID: pid}, row, nil
}

// Create inserts the first row of a slot. Its epoch is above those of withdrawn rows, so that a
// relay or a command that has read one of them changes nothing in this one. Create returns
// [slot.ErrFenced] if another relay has inserted a row.
func (s *Store) Create(ctx context.Context, r Row) error {
	recovery := Recovery{}
	if r.Recovery != nil {
		recovery = *r.Recovery
	}
	tag, err := s.pool.Exec(ctx, `
		INSERT INTO relay_checkpoints
			(slot_name, outbox_table, epoch, system_identifier, flush_lsn, horizon, publication_fingerprint,
			 recover_from, recover_to, recover_since, tables)
		VALUES ($1, $2, (
				SELECT coalesce(max(epoch), 0) + 1 FROM relay_checkpoints
				WHERE starts_with(slot_name, $1 || '`+withdrawn+`')
			), $3, nullif($4::pg_lsn, '0/0'), nullif($5, '')::pg_snapshot, nullif($6, ''),
			nullif($7, '')::pg_snapshot, nullif($8, '')::pg_snapshot, nullif($9, '')::timestamptz, $10)
		ON CONFLICT (slot_name) DO NOTHING`,
		s.name, r.Table, r.SystemIdentifier, r.Position.FlushLSN.String(), r.Horizon, r.Fingerprint,
		recovery.From, recovery.To, recovery.Since, r.Tables)
	if err != nil {
		return fmt.Errorf("create checkpoint of slot %s: %w", s.name, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("create checkpoint of slot %s: %w", s.name, slot.ErrFenced)
	}
	return nil
}

// BeginRecovery raises the epoch and stores the snapshot from which rows of the table may be
// undelivered, in the cluster with this system identifier. The epoch alone is the fence:
// BeginRecovery returns [slot.ErrFenced] if another relay has raised it. A recovery that has
// started keeps its From. Otherwise From becomes from or, if from is empty, the horizon.
//
// If the slot is intact, the position stays, because the slot still brings every later commit.
// A recovery that has stored its end has replaced the fingerprint and the position that showed the
// gap. So the row then says that events are missing, until a new end is stored.
//
// A row of another cluster is one whose horizon an operator trusts. The deferrals of that cluster
// are then trusted too.
func (s *Store) BeginRecovery(ctx context.Context, epoch int64, system, from string, isIntact bool) error {
	tag, err := s.pool.Exec(ctx, `
		WITH before AS (
			SELECT system_identifier FROM relay_checkpoints WHERE slot_name = $1 AND epoch = $2
		), begun AS (
		UPDATE relay_checkpoints SET epoch = epoch + 1, updated_at = clock_timestamp(), system_identifier = $3,
			recover_from = coalesce(recover_from, nullif($4, '')::pg_snapshot, horizon, '3:3:'),
			recover_to = NULL, recover_until = NULL, recovered_seq = NULL,
			publication_fingerprint = CASE WHEN recover_to IS NULL THEN publication_fingerprint ELSE $6 END,
			flush_lsn = CASE WHEN $5 AND system_identifier = $3 THEN flush_lsn END,
			tx_commit_lsn = CASE WHEN $5 AND system_identifier = $3 THEN tx_commit_lsn END,
			tx_delivered = CASE WHEN $5 AND system_identifier = $3 THEN tx_delivered END,
			tx_last_event_id = CASE WHEN $5 AND system_identifier = $3 THEN tx_last_event_id END
		WHERE slot_name = $1 AND epoch = $2 RETURNING slot_name
		), trusted AS (
			UPDATE outbox_deferrals d SET system_identifier = $3, updated_at = clock_timestamp() FROM begun, before
			WHERE d.slot_name = begun.slot_name AND d.system_identifier = before.system_identifier
			  AND before.system_identifier <> $3
		)
		SELECT FROM begun`, s.name, epoch, system, from, isIntact, EventsMissing)
	return s.one(tag.RowsAffected(), err, "begin recovery of slot %s")
}

// RestartRecovery starts a recovery for a row from another cluster. It clears the positions and
// transaction ids, which mean nothing in this cluster. Rows that were created before since count as
// delivered. Of a destination that was deferred in the other cluster, no row counts as delivered:
// package deferral then finds those that are.
func (s *Store) RestartRecovery(ctx context.Context, epoch int64, system, since string) error {
	tag, err := s.pool.Exec(ctx, `
		WITH restarted AS (
			UPDATE outbox_deferrals SET known = '3:3:', updated_at = clock_timestamp()
			WHERE slot_name = $1 AND state = 'deferred' AND system_identifier <> $3
				AND EXISTS (SELECT FROM relay_checkpoints WHERE slot_name = $1 AND epoch = $2)
		), ended AS (
			DELETE FROM outbox_deferrals WHERE slot_name = $1 AND state = 'joined' AND system_identifier <> $3
				AND EXISTS (SELECT FROM relay_checkpoints WHERE slot_name = $1 AND epoch = $2)
		)
		UPDATE relay_checkpoints SET epoch = epoch + 1, updated_at = clock_timestamp(), system_identifier = $3,
			horizon = NULL,
			recover_from = '3:3:', recover_to = NULL, recover_until = NULL, recover_since = $4::timestamptz,
				recovered_seq = NULL,
			flush_lsn = NULL, tx_commit_lsn = NULL, tx_delivered = NULL, tx_last_event_id = NULL
		WHERE slot_name = $1 AND epoch = $2`, s.name, epoch, system, since)
	return s.one(tag.RowsAffected(), err, "begin recovery of slot %s")
}

// SetRecoveryEnd stores the end of the rows that have to be published again. to is the snapshot of
// the new slot's consistent point. fingerprint is that of the publication before the slot was
// created. SetRecoveryEnd returns [slot.ErrFenced] if the slot has another position. The check is
// necessary because a relay does not hold a slot that it has just created, so another relay can
// replace the slot in between.
func (s *Store) SetRecoveryEnd(ctx context.Context, f slot.Fence, to, fingerprint string,
	flushLSN pglogrepl.LSN,
) error {
	tag, err := s.pool.Exec(ctx, `
		UPDATE relay_checkpoints c SET recover_to = $4::pg_snapshot, recover_until = NULL, publication_fingerprint = $5,
			flush_lsn = $6, tx_commit_lsn = NULL, tx_delivered = NULL, tx_last_event_id = NULL,
			recovered_seq = NULL, updated_at = clock_timestamp()
		WHERE `+slot.FenceSQL+` AND EXISTS (
			SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.confirmed_flush_lsn = $6)`,
		f.Args(to, fingerprint, flushLSN.String())...)
	return s.one(tag.RowsAffected(), err, "store the end of recovery of slot %s")
}

// SetRecoveryUntil stores the end of the rows that have to be published again, for a slot that
// remained intact: the snapshot to, its log position until, and the fingerprint of the publication
// before both. Such a pair of snapshot and position is valid whoever holds the slot, so the epoch
// alone is the fence. SetRecoveryUntil returns [slot.ErrFenced] if the row has changed, or if the
// slot is gone or ahead of until.
//
// A slot that is ahead of the row no longer has the commits in between. The position then moves to
// the slot's, and the rows in between come from the table.
func (s *Store) SetRecoveryUntil(ctx context.Context, epoch int64, to, fingerprint string, until pglogrepl.LSN) error {
	tag, err := s.pool.Exec(ctx, `
		UPDATE relay_checkpoints c SET epoch = c.epoch + 1, recover_to = $3::pg_snapshot, recover_until = $5,
			publication_fingerprint = $4, flush_lsn = greatest(c.flush_lsn, s.confirmed_flush_lsn),
			recovered_seq = NULL, updated_at = clock_timestamp()
		FROM pg_replication_slots s
		WHERE c.slot_name = $1 AND c.epoch = $2 AND s.slot_name = c.slot_name AND s.confirmed_flush_lsn <= $5`,
		s.name, epoch, to, fingerprint, until.String())
	return s.one(tag.RowsAffected(), err, "store the end of recovery of slot %s")
}

// FinishRecovery makes the end of recovery the horizon, in one write. Everything before
// recover_until is delivered by then.
func (s *Store) FinishRecovery(ctx context.Context, f slot.Fence) error {
	tag, err := s.pool.Exec(ctx, `
		UPDATE relay_checkpoints c SET horizon = recover_to, flush_lsn = greatest(c.flush_lsn, c.recover_until),
			recover_from = NULL, recover_to = NULL, recover_since = NULL, recover_until = NULL, recovered_seq = NULL,
			gap_repaired_at = CASE WHEN gap_found_at IS NOT NULL THEN coalesce(gap_repaired_at, clock_timestamp()) END,
			updated_at = clock_timestamp()
		WHERE `+slot.FenceSQL, f.Args()...)
	return s.one(tag.RowsAffected(), err, "finish recovery of slot %s")
}

// Horizon is a pg_snapshot in which every visible event is delivered, parked or deferred, and the
// fingerprint of the publication at that time. An empty field keeps the value of the row.
type Horizon struct{ Snapshot, Fingerprint string }

// Save stores the position and the horizon. It returns [slot.ErrFenced] if this relay no longer
// holds the slot. The relay may confirm a position only after its row is durable. The connections
// of the pool therefore set synchronous_commit to on.
func (s *Store) Save(ctx context.Context, f slot.Fence, p Position, h Horizon) error {
	return s.save(ctx, f, slot.FenceSQL, p, h)
}

// SaveUnclaimed stores the position of a relay whose slot is free for a moment. It returns
// [slot.ErrFenced] if another relay has acquired the slot, or the slot is gone.
func (s *Store) SaveUnclaimed(ctx context.Context, f slot.Fence, p Position) error {
	return s.save(ctx, f, slot.UnclaimedSQL, p, Horizon{})
}

// save never moves flush_lsn back. A session that ends gives up a write that is under way, and
// the server may execute it after the session's last write, whose position the slot has by then.
func (s *Store) save(ctx context.Context, f slot.Fence, fence string, p Position, h Horizon) error {
	tag, err := s.pool.Exec(ctx, `
		UPDATE relay_checkpoints c SET flush_lsn = greatest(c.flush_lsn, $4),
			tx_commit_lsn = CASE WHEN c.flush_lsn > $4 THEN c.tx_commit_lsn ELSE nullif($5::pg_lsn, '0/0') END,
			tx_delivered = CASE WHEN c.flush_lsn > $4 THEN c.tx_delivered ELSE $6 END,
			tx_last_event_id = CASE WHEN c.flush_lsn > $4 THEN c.tx_last_event_id ELSE $7 END,
			recovered_seq = $8, horizon = coalesce(nullif($9, '')::pg_snapshot, c.horizon),
			publication_fingerprint = coalesce(nullif($10, ''), c.publication_fingerprint),
			updated_at = clock_timestamp()
		WHERE `+fence,
		f.Args(p.FlushLSN.String(), p.Transaction.CommitLSN.String(), p.Transaction.Delivered,
			p.Transaction.LastEventID, p.RecoveredSeq, h.Snapshot, h.Fingerprint)...)
	return s.one(tag.RowsAffected(), err, "save checkpoint of slot %s")
}

// one converts the result of a fenced statement to an error: the statement's own, or
// [slot.ErrFenced] if the statement changed no row.
func (s *Store) one(rows int64, err error, format string) error {
	if err == nil && rows == 0 {
		err = slot.ErrFenced
	}
	if err != nil {
		return fmt.Errorf(format+": %w", s.name, err)
	}
	return nil
}
