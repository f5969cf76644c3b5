package checkpoint

import (
	"context"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// NoteFilter stores the row filter of the publication, and a snapshot of this moment if it was
// another one before: rows that the snapshot shows may never have been delivered, because the
// former filter excluded them. Both are in a row of their own, which most slots do not have.
func (s *Store) NoteFilter(ctx context.Context, f slot.Fence, filter string) error {
	_, err := s.pool.Exec(ctx, `
		WITH holder AS (
			SELECT c.system_identifier FROM relay_checkpoints c WHERE `+slot.FenceSQL+` FOR UPDATE
		)
		INSERT INTO relay_checkpoints AS noted
			(slot_name, outbox_table, epoch, system_identifier, publication_fingerprint)
		SELECT $4, '', 0, holder.system_identifier, $5 FROM holder
		WHERE $5 <> '' OR EXISTS (SELECT FROM relay_checkpoints WHERE slot_name = $4)
		ON CONFLICT (slot_name) DO UPDATE SET publication_fingerprint = excluded.publication_fingerprint,
			horizon = CASE WHEN noted.publication_fingerprint <> '' THEN pg_current_snapshot() ELSE noted.horizon END,
			system_identifier = excluded.system_identifier, updated_at = clock_timestamp()
			WHERE noted.publication_fingerprint <> excluded.publication_fingerprint`,
		f.Args(outboxtable.FilterOf(s.name), filter)...)
	if err != nil {
		return fmt.Errorf("note the row filter of slot %s: %w", s.name, err)
	}
	return nil
}
