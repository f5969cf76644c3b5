package checkpoint

import "context"

// withdrawn follows the name of a slot in the row of a first start that an operator withdrew. No
// slot has such a name, and no outbox table has such a checkpoint. So the row means nothing to a
// relay of any version, and an operator can still read it.
const withdrawn = " (withdrawn"

// Forget withdraws a row that no relay has changed since epoch. The next start of a relay is then
// its first. The row is renamed and not deleted, because the relay's role may not delete a
// checkpoint. Forget returns [slot.ErrFenced] if a relay has changed the row.
func (s *Store) Forget(ctx context.Context, epoch int64) error {
	tag, err := s.pool.Exec(ctx, `
		UPDATE relay_checkpoints SET slot_name = slot_name || '`+withdrawn+` ' || clock_timestamp()::text || ')',
			outbox_table = outbox_table || '`+withdrawn+`)',
			recover_from = NULL, recover_to = NULL, recover_until = NULL, recover_since = NULL, recovered_seq = NULL,
			updated_at = clock_timestamp()
		WHERE slot_name = $1 AND epoch = $2`, s.name, epoch)
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
