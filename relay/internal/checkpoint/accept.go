package checkpoint

import "context"

// SinceNever is the Since of a recovery that publishes no row of the table: an operator, or the
// first start, has accepted that events which the slot does not bring are not delivered.
const SinceNever = "infinity"

// ReadsTable reports whether rows of the table are published.
func (r *Recovery) ReadsTable() bool { return r.Since != SinceNever }

// AcceptLoss begins a recovery that publishes no row of the table. Like [Store.BeginRecovery] it
// keeps the position of an intact slot, and the epoch alone is its fence.
func (s *Store) AcceptLoss(ctx context.Context, epoch int64, system string, isIntact bool) error {
	tag, err := s.pool.Exec(ctx, `
		UPDATE relay_checkpoints SET epoch = epoch + 1, updated_at = clock_timestamp(), system_identifier = $3,
			recover_from = pg_current_snapshot(), recover_since = '`+SinceNever+`',
			recover_to = NULL, recover_until = NULL, recovered_seq = NULL,
			publication_fingerprint = CASE WHEN recover_to IS NULL THEN publication_fingerprint ELSE $5 END,
			flush_lsn = CASE WHEN $4 AND system_identifier = $3 THEN flush_lsn END,
			tx_commit_lsn = CASE WHEN $4 AND system_identifier = $3 THEN tx_commit_lsn END,
			tx_delivered = CASE WHEN $4 AND system_identifier = $3 THEN tx_delivered END,
			tx_last_event_id = CASE WHEN $4 AND system_identifier = $3 THEN tx_last_event_id END
		WHERE slot_name = $1 AND epoch = $2`, s.name, epoch, system, isIntact, EventsMissing)
	return s.one(tag.RowsAffected(), err, "accept the loss of events of slot %s")
}
