package deadletter

import (
	"context"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// CodeRemoved is the code of a dead letter whose redrive was refused because no setting of the
// relay names its destination any more.
const CodeRemoved = "DestinationRemoved"

// refuseMoved parks those dead letters again whose destination is not among $4. Events that wait
// behind a refused one keep their code. A dead letter without a slot may belong to another relay
// of the table.
const refuseMoved = `
	WITH holder AS (
		SELECT FROM relay_checkpoints c WHERE ` + slot.FenceSQL + `
	), refused AS (
		UPDATE outbox_dead_letters d SET state = 'parked', updated_at = clock_timestamp(),
			code = CASE WHEN d.code = ` + blocked + ` THEN d.code ELSE $6 END,
			reason = CASE WHEN d.code IN (` + blocked + `, $6) THEN d.reason ELSE
				'no setting names ' || d.destination || ' any more: add it to RELAY_DESTINATION or RELAY_ROUTES and '
				'redrive the event, or discard the event and send it to its present destination with relay replay. '
				'Before, ' || d.code || ': ' || d.reason END
		FROM holder
		WHERE d.outbox_table = $5 AND ` + isMoved + `
	)
	SELECT FROM holder`

// isMoved is the condition of refuseMoved for a dead letter of the table. The slot is $1.
const isMoved = `d.state = 'redriving' AND d.destination <> ALL ($4::text[])
		  AND (d.slot_name = $1 OR NOT EXISTS (
			SELECT FROM relay_checkpoints c
			WHERE c.slot_name <> $1 AND (c.slot_name = d.slot_name OR c.outbox_table = d.outbox_table)))`

// RefuseMoved refuses the redrives to destinations other than these: the relay sends nothing to
// them, and the command would wait for ever.
//
// An UPDATE waits for a lock on the table even if it changes nothing. So RefuseMoved only reads
// where there is no such redrive, as nearly always.
func (s *Store) RefuseMoved(ctx context.Context, destinations []string) error {
	var exist bool
	err := s.pool.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT FROM relay_checkpoints c, outbox_dead_letters d
			WHERE `+slot.FenceSQL+` AND d.outbox_table = $5 AND `+isMoved+`)`,
		s.fence.Args(destinations, s.table)...).Scan(&exist)
	if err != nil {
		return fmt.Errorf("look for redrives to removed destinations: %w", err)
	}
	if !exist {
		return nil
	}
	return s.exec(ctx, fmt.Sprintf("refuse redrives to others than %d destinations", len(destinations)), refuseMoved,
		destinations, s.table, CodeRemoved)
}

// isRefusedAgain reports whether the redrive of a parked dead letter was refused. The relay itself
// refuses a message that no destination accepts, and one whose destination is not named, without an
// attempt.
func (m marked) isRefusedAgain(now Record) bool {
	return int64(now.Attempts) > m.Attempts || now.Code == CodeRemoved ||
		now.Attempts == 0 && now.Code != delivery.CodeBlocked
}
