package checkpoint

import "context"

// Forget deletes a row that no relay has changed since epoch. The next start of a relay is then its
// first. Forget returns [slot.ErrFenced] if a relay has changed the row.
func (s *Store) Forget(ctx context.Context, epoch int64) error {
	tag, err := s.pool.Exec(ctx, `DELETE FROM relay_checkpoints WHERE slot_name = $1 AND epoch = $2`, s.name, epoch)
	return s.one(tag.RowsAffected(), err, "forget the checkpoint of slot %s")
}

// WithdrawRecovery cancels a recovery that no relay has started, for a slot that kept its position.
// It returns [slot.ErrFenced] if a relay has started the recovery since epoch.
func (s *Store) WithdrawRecovery(ctx context.Context, epoch int64) error {
	tag, err := s.pool.Exec(ctx, `
		UPDATE relay_checkpoints SET epoch = epoch + 1, recover_from = NULL, recover_since = NULL,
			updated_at = clock_timestamp()
		WHERE slot_name = $1 AND epoch = $2 AND recover_to IS NULL AND flush_lsn IS NOT NULL`, s.name, epoch)
	return s.one(tag.RowsAffected(), err, "withdraw the recovery of slot %s")
}
