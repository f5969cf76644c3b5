package deadletter

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// redriveBytes bounds the sum of the events of a destination that are redriven at the same time, in
// bytes. An event that exceeds the bound is redriven alone.
const redriveBytes = 8 << 20

// redriving selects the first dead letters of a slot and a destination that an operator redrives.
// Those that are with delivery come without their events, because the relay would hold a large
// event twice.
var redriving = `
	WITH first AS (
		SELECT position, blocks_group, updated_at, redrives, code, reason,
			coalesce(row_event_id, event_id) AS event_id, event
		FROM outbox_dead_letters d
		WHERE outbox_table = $2 AND destination = $3 AND state = 'redriving' AND ` + isOwn("d") + `
		ORDER BY position LIMIT $4
	), sized AS (
		SELECT first.*, sent.bytes IS NOT NULL AS is_sent,
			coalesce(sent.bytes, pg_catalog.octet_length(event::text)) AS bytes
		FROM first LEFT JOIN unnest($6::bigint[], $7::timestamptz[], $8::bigint[])
			AS sent(position, updated_at, bytes) USING (position, updated_at)
	), summed AS (
		SELECT *, sum(bytes) OVER (ORDER BY NOT is_sent, position) AS total FROM sized
	)
	SELECT position, updated_at, is_sent, bytes, blocks_group, redrives, code, reason, event_id,
		CASE WHEN is_sent THEN '{}' ELSE event END
	FROM summed WHERE is_sent OR total <= $5 OR total = bytes ORDER BY position`

// redrive names one request to redrive a dead letter. Between two queries the relay may have parked
// the dead letter again. The operator may then have redriven it again, behind another one that was
// discarded in between.
type redrive struct {
	position int64
	since    time.Time
}

// request is a dead letter that an operator redrives.
type request struct {
	redrive
	bytes  int64                // of its event
	letter *delivery.DeadLetter // nil: it is with delivery
}

// requests returns the dead letters of a destination to redrive, in the order of their positions,
// and the bytes of all of them stay below redriveBytes.
func (r *Redriver) requests(ctx context.Context, destination string) ([]request, error) {
	var positions, sizes []int64
	var since []time.Time
	for sent, bytes := range r.sent {
		positions, since, sizes = append(positions, sent.position), append(since, sent.since), append(sizes, bytes)
	}
	rows, err := r.Pool.Query(ctx, redriving, r.Slot, r.Table, destination, redriveWindow, redriveBytes,
		positions, since, sizes)
	if err != nil {
		return nil, fmt.Errorf("read dead letters to redrive: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (request, error) {
		return scanRequest(row, destination)
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letters to redrive: %w", err)
	}
	return found, nil
}

func scanRequest(row pgx.CollectableRow, destination string) (request, error) {
	var found request
	var isSent bool
	var redrives int
	var eventID string
	var stored message
	letter := &delivery.DeadLetter{Destination: destination}
	err := row.Scan(&found.position, &found.since, &isSent, &found.bytes, &letter.BlocksGroup, &redrives,
		&letter.Code, &letter.Reason, &eventID, &stored)
	if err != nil || isSent {
		return found, err
	}
	message := stored.message(eventID, redrives)
	letter.Position, letter.RedrivenAt, letter.Message = found.position, found.since, &message
	found.letter = letter
	return found, nil
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
