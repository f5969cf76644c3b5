package deadletter

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// redriveBytes bounds the sum of the events that [Redriving] returns, in bytes. The last event may
// exceed it, so that an event of many MB is returned alone.
const redriveBytes = 16 << 20

// Redriving returns the first dead letters of a slot and a destination that an operator redrives,
// by position and at most limit. table is the schema.name of the outbox table.
func Redriving(
	ctx context.Context,
	pool *pgxpool.Pool,
	slotName, table, destination string,
	limit int,
) ([]delivery.DeadLetter, error) {
	rows, err := pool.Query(ctx, `
		WITH first AS (
			SELECT position, blocks_group, updated_at, redrives, coalesce(row_event_id, event_id) AS event_id, event
			FROM outbox_dead_letters d
			WHERE outbox_table = $2 AND destination = $3 AND state = 'redriving' AND `+isOwn("d")+`
			ORDER BY position LIMIT $4
		), sized AS (
			SELECT *, sum(octet_length(event::text)) OVER (ORDER BY position) - octet_length(event::text) AS before
			FROM first
		)
		SELECT position, blocks_group, updated_at, redrives, event_id, event FROM sized
		WHERE before < $5 ORDER BY position`, slotName, table, destination, limit, redriveBytes)
	if err != nil {
		return nil, fmt.Errorf("read dead letters to redrive: %w", err)
	}
	letters, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (delivery.DeadLetter, error) {
		letter := delivery.DeadLetter{Destination: destination}
		var redrives int
		var eventID string
		var stored message
		err := row.Scan(&letter.Position, &letter.BlocksGroup, &letter.RedrivenAt, &redrives, &eventID, &stored)
		message := stored.message(eventID, redrives)
		letter.Message = &message
		return letter, err
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letters to redrive: %w", err)
	}
	return letters, nil
}

// Blocked returns the message groups of a slot that a parked event blocks, for each destination,
// with the id of the first such event.
func Blocked(ctx context.Context, pool *pgxpool.Pool, slotName, table string) (map[string]map[string]string, error) {
	rows, err := pool.Query(ctx, `
		SELECT DISTINCT ON (destination, message_group) destination, message_group, coalesce(row_event_id, event_id)
		FROM outbox_dead_letters d
		WHERE outbox_table = $2 AND blocks_group AND state IN ('parked', 'redriving') AND `+isOwn("d")+`
		ORDER BY destination, message_group, position`, slotName, table)
	if err != nil {
		return nil, fmt.Errorf("read blocked message groups: %w", err)
	}
	blocked := map[string]map[string]string{}
	var destination, group, event string
	_, err = pgx.ForEachRow(rows, []any{&destination, &group, &event}, func() error {
		if blocked[destination] == nil {
			blocked[destination] = map[string]string{}
		}
		blocked[destination][group] = event
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read blocked message groups: %w", err)
	}
	return blocked, nil
}

// follow redrives the events parked behind the dead letters in "redriven", once their group has no
// event left that was refused for its own sake. They were never sent, so they need no new
// deduplication id. Both are of the slot in $1.
var follow = `
	UPDATE outbox_dead_letters d SET state = 'redriving', updated_at = clock_timestamp()
	FROM (SELECT DISTINCT outbox_table, destination, message_group FROM redriven WHERE blocks_group) AS r
	WHERE (d.outbox_table, d.destination, d.message_group) = (r.outbox_table, r.destination, r.message_group)
	  AND d.state = 'parked' AND d.code = '` + delivery.CodeBlocked + `' AND ` + isOwn("d") + `
	  AND NOT EXISTS (
		SELECT FROM outbox_dead_letters o
		WHERE (o.outbox_table, o.destination, o.message_group) = (r.outbox_table, r.destination, r.message_group)
		  AND o.blocks_group AND o.state = 'parked' AND o.code <> '` + delivery.CodeBlocked + `' AND ` + isOwn("o") + `
		  AND o.position NOT IN (SELECT position FROM redriven))
	RETURNING d.position`

// Redriven implements [delivery.Parker]. The events parked behind the dead letter follow it.
func (s *Store) Redriven(ctx context.Context, position int64) error {
	redriven := `
		WITH redriven AS (
			UPDATE outbox_dead_letters d SET state = 'redriven', updated_at = clock_timestamp()
			FROM relay_checkpoints c WHERE d.position = $4 AND ` + slot.FenceSQL + ` RETURNING d.*
		), followers AS (` + follow + `)
		SELECT FROM redriven`
	return s.exec(ctx, fmt.Sprintf("note that dead letter %d is redriven", position), redriven, position)
}

// IsRedriving implements [delivery.Parker].
func (s *Store) IsRedriving(ctx context.Context, letter *delivery.DeadLetter) (redriving bool, err error) {
	done, err := s.takeTurn(ctx)
	if err != nil {
		return false, fmt.Errorf("look for dead letter %d: %w", letter.Position, err)
	}
	defer done()
	err = s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM outbox_dead_letters WHERE position = $1 AND state = 'redriving'
			AND updated_at = $2)`,
		letter.Position, letter.RedrivenAt).Scan(&redriving)
	if err != nil {
		return false, fmt.Errorf("look for dead letter %d: %w", letter.Position, err)
	}
	return redriving, nil
}
