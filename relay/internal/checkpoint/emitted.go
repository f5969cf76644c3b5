package checkpoint

import (
	"context"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// NoteEmitted stores the prefix of the messages that the relay which holds the slot reads. It
// returns [slot.ErrFenced] if the relay no longer holds it.
func (s *Store) NoteEmitted(ctx context.Context, f slot.Fence, prefix string) error {
	tag, err := s.pool.Exec(ctx, `UPDATE relay_checkpoints c SET emitted = $4 WHERE `+slot.FenceSQL, f.Args(prefix)...)
	return s.one(tag.RowsAffected(), err, "note the prefix of messages of slot %s")
}

// GiveUpMessages withdraws the stored prefix on an operator's word: a relay may continue without
// the messages that were not delivered.
func (s *Store) GiveUpMessages(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `UPDATE relay_checkpoints SET emitted = NULL WHERE slot_name = $1`, s.name)
	if err != nil {
		err = fmt.Errorf("give up the messages of slot %s: %w", s.name, err)
	}
	return err
}
