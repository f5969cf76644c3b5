package deadletter

import (
	"context"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// An event that comes again, because the relay stopped before it could confirm, is already parked
// and stays as it is. Its row distinguishes it from every other event. An event that is parked
// behind dead letters which are all being redriven follows them.
//
// A dead letter without a row is from an older relay. It is the one of this event if it contains
// the very same message, so no event is dropped without a dead letter of its own. event_id is
// unique, because an older relay that runs at the same time needs that. A suffix is added if the
// dead letter of another row has it, or if no index could hold it.
var park = `
	WITH holder AS (
		SELECT FROM relay_checkpoints c WHERE ` + slot.FenceSQL + `
	), known AS (` + assignRow + `$15 RETURNING d.position
	), parked AS (
		INSERT INTO outbox_dead_letters AS d
			(event_id, outbox_table, destination, message_group, blocks_group, code, reason, attempts, event, state,
			 slot_name, row_key, row_seq, row_event_id)
		SELECT CASE WHEN pg_catalog.octet_length($4) > ` + longestIndexed + ` OR EXISTS (
				SELECT FROM outbox_dead_letters o WHERE o.outbox_table = $5 AND o.event_id = $4 AND o.destination = $6
			) THEN pg_catalog.left($4, 128) || ' ' || gen_random_uuid()::text ELSE $4 END,
			$5, $6, $10, $11::boolean, $12, $13, $14::integer, $15::json,
			CASE WHEN $11::boolean AND $12 = '` + delivery.CodeBlocked + `' AND (
				SELECT bool_and(o.state = 'redriving') FROM outbox_dead_letters o
				WHERE o.outbox_table = $5 AND o.destination = $6 AND o.message_group = $10 AND o.blocks_group
					AND o.state IN ('parked', 'redriving') AND ` + isOwn("o") + `
			) THEN 'redriving' ELSE 'parked' END,
			$1, $7, $8::bigint, $4
		FROM holder WHERE NOT EXISTS (SELECT FROM known)
		ON CONFLICT (outbox_table, slot_name, destination, row_key) WHERE row_key IS NOT NULL DO UPDATE
			SET event_id = d.event_id
		RETURNING d.position
	)
	SELECT position FROM known UNION ALL SELECT position FROM parked`

// assignRow gives the dead letter that an older relay stored of an event the row of the event. Its
// arguments are those of [Store.rowArgs]. The event follows, as the last argument of the statement:
// it may have many MB, and pgx would copy them to make room for another argument.
const assignRow = `
		UPDATE outbox_dead_letters d SET slot_name = $1, row_key = $7, row_seq = $8::bigint, row_event_id = $4
		FROM holder
		WHERE d.outbox_table = $5 AND d.event_id = $4 AND d.destination = $6 AND d.row_key IS NULL
		  AND $9::boolean AND NOT EXISTS (
			SELECT FROM outbox_dead_letters o
			WHERE o.outbox_table = $5 AND o.slot_name = $1 AND o.destination = $6 AND o.row_key = $7)
		  AND d.event::text = `

// deadLetterOf returns the dead letter of an event, in any state.
const deadLetterOf = `
	WITH holder AS (
		SELECT FROM relay_checkpoints c WHERE ` + slot.FenceSQL + `
	), known AS (` + assignRow + `$10 RETURNING d.position
	)
	SELECT position FROM known UNION ALL
	SELECT d.position FROM holder, outbox_dead_letters d
	WHERE d.outbox_table = $5 AND d.slot_name = $1 AND d.destination = $6 AND d.row_key = $7 AND d.row_key IS NOT NULL`

// longestIndexed bounds the event id in an index, in bytes. An entry of a B-tree holds 2,704 in
// all.
const longestIndexed = "1024"

// Park implements [delivery.Parker]. It returns [slot.ErrFenced] if the relay no longer holds the
// slot.
func (s *Store) Park(ctx context.Context, p delivery.DeadLetter) error {
	if p.Position != 0 {
		return s.parkAgain(ctx, p)
	}
	event, err := newMessage(p.Message).encode()
	if err != nil {
		return fmt.Errorf("park event %s: %w", p.Message.EventID, err)
	}
	args, err := s.rowArgs(p, p.Message.GroupID, p.BlocksGroup, p.Code, p.Reason, p.Attempts, event)
	if err != nil {
		return fmt.Errorf("park event %s: %w", p.Message.EventID, err)
	}
	insert := func() error { return s.exec(ctx, "park event "+p.Message.EventID, park, args...) }
	err = insert()
	// another relay parked an event of the same id concurrently; its row is visible now
	if isUniqueViolation(err) {
		err = insert()
	}
	return err
}

// rowArgs returns the arguments of [assignRow] without the event, and more behind them.
func (s *Store) rowArgs(p delivery.DeadLetter, more ...any) ([]any, error) {
	seq, err := rowSeq(p.Row)
	if err != nil {
		return nil, err
	}
	id := p.Message.EventID
	return append([]any{id, s.table, p.Destination, p.Row.Key(id), seq, p.Message.Body != ""}, more...), nil
}

// parkAgain parks a dead letter whose redrive was refused. If it blocks its group, it also parks
// those that would have followed. If an outage was the cause of one of these, that is over: it only
// waits behind p, and its code becomes [delivery.CodeBlocked], so it follows p without a command.
func (s *Store) parkAgain(ctx context.Context, p delivery.DeadLetter) error {
	parkAgain := `
		UPDATE outbox_dead_letters d SET state = 'parked', updated_at = clock_timestamp(),
			code = CASE WHEN d.position = $4 THEN $5
				WHEN d.code = '` + delivery.CodeUnavailable + `' THEN ` + blocked + ` ELSE d.code END,
			reason = CASE WHEN d.position = $4 THEN $6
				WHEN d.code = '` + delivery.CodeUnavailable + `' THEN $12 ELSE d.reason END,
			attempts = d.attempts + CASE WHEN d.position = $4 THEN $7::integer ELSE 0 END
		FROM relay_checkpoints c
		WHERE d.state = 'redriving' AND (d.position = $4 OR
				$8::boolean AND d.blocks_group AND d.outbox_table = $11 AND d.destination = $9
					AND d.message_group = $10 AND ` + isOwn("d") + `)
			AND ` + slot.FenceSQL
	return s.exec(ctx, fmt.Sprintf("park dead letter %d again", p.Position), parkAgain,
		p.Position, p.Code, p.Reason, p.Attempts, p.BlocksGroup, p.Destination, p.Message.GroupID, s.table,
		delivery.BlockedReason(p.Message.EventID))
}
