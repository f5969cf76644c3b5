package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// EventsMissing replaces the publication's fingerprint after the audit has found events that were
// not streamed. It differs from every fingerprint, so a relay of an older version finds a gap too.
const EventsMissing = "events missing"

// ErrEventsMissing means that the outbox table has events that the stream did not bring.
var ErrEventsMissing = errors.New("the stream did not bring every event of the outbox table")

// SetEventsMissing records that the slot did not bring every event. It returns [slot.ErrFenced] if
// this relay no longer holds the slot.
func (s *Store) SetEventsMissing(ctx context.Context, f slot.Fence) error {
	tag, err := s.pool.Exec(ctx, `
		UPDATE relay_checkpoints c SET publication_fingerprint = $4, updated_at = clock_timestamp()
		WHERE `+slot.FenceSQL, f.Args(EventsMissing)...)
	return s.one(tag.RowsAffected(), err, "note that events of slot %s are missing")
}

// Gap is a time at which the slot could not bring every event.
type Gap struct {
	FoundAt    time.Time
	Reason     string
	RepairedAt *time.Time // when the events were published from the table; nil before that
}

// NoteGap stores, for operators, why a recovery begins.
func (s *Store) NoteGap(ctx context.Context, reason string) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE relay_checkpoints SET gap_found_at = clock_timestamp(), gap_reason = $2, gap_repaired_at = NULL
			WHERE slot_name = $1`,
		s.name, reason)
	if err != nil {
		return fmt.Errorf("note the gap of slot %s: %w", s.name, err)
	}
	return nil
}

// LastGap returns the last gap, or nil if there was none.
func (s *Store) LastGap(ctx context.Context) (*Gap, error) {
	var g Gap
	err := s.pool.QueryRow(ctx, `
		SELECT gap_found_at, gap_reason, gap_repaired_at FROM relay_checkpoints WHERE slot_name = $1
			AND gap_found_at IS NOT NULL`,
		s.name).Scan(&g.FoundAt, &g.Reason, &g.RepairedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the last gap of slot %s: %w", s.name, err)
	}
	return &g, nil
}
