package deadletter

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// OfSlot is a condition in SQL on a dead letter d: it was parked from the outbox table of the slot
// in $1, and is the slot's own. A slot without a checkpoint has no table yet.
var OfSlot = `(d.outbox_table =
		coalesce((SELECT c.outbox_table FROM relay_checkpoints c WHERE c.slot_name = $1), d.outbox_table)
	AND ` + isOwn("d") + `)`

// isOwn is [outboxtable.OwnDeadLetterSQL] for the slot in $1.
func isOwn(letter string) string { return outboxtable.OwnDeadLetterSQL(letter, "$1") }

const blocked = `'` + delivery.CodeBlocked + `'`

// Count returns the number of open dead letters of a slot.
func Count(ctx context.Context, pool *pgxpool.Pool, slot string) (open int64, err error) {
	err = pool.QueryRow(ctx, `
		SELECT count(*) FROM outbox_dead_letters d
		WHERE d.state IN ('parked', 'redriving') AND `+OfSlot, slot).Scan(&open)
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return open, nil
}

// Cause counts the dead letters of one destination that have one reason.
type Cause struct {
	Code        string    `json:"code"`
	Destination string    `json:"destination"`
	Refused     int64     `json:"refused"` // events that cannot be delivered for this reason
	Behind      int64     `json:"behind"`  // events that only wait behind one of them
	OldestAt    time.Time `json:"oldest_at"`
	Reason      string    `json:"reason"` // of the first of them, as a sentence
}

// Causes returns why the selected dead letters are parked, the most frequent reason first. An event
// that waits behind another one of its message group counts for the reason of the first of them.
// Its own code remains where that one is not selected, or was delivered since.
func Causes(ctx context.Context, pool *pgxpool.Pool, s Selection) ([]Cause, error) {
	rows, err := pool.Query(ctx, `
		WITH chosen AS (
			SELECT * FROM outbox_dead_letters d WHERE `+selected+`
		), first AS (
			SELECT DISTINCT ON (outbox_table, destination, message_group) outbox_table, destination, message_group, code
			FROM chosen WHERE code <> `+blocked+` AND blocks_group
			ORDER BY outbox_table, destination, message_group, position
		), counted AS (
			SELECT CASE WHEN d.code = `+blocked+` THEN coalesce(first.code, d.code) ELSE d.code END AS code,
				d.destination,
				count(*) FILTER (WHERE d.code <> `+blocked+`) AS refused,
				count(*) FILTER (WHERE d.code = `+blocked+`) AS behind,
				min(d.parked_at) AS oldest_at,
				coalesce(min(d.position) FILTER (WHERE d.code <> `+blocked+`), min(d.position)) AS position
			FROM chosen d LEFT JOIN first USING (outbox_table, destination, message_group)
			GROUP BY 1, 2
		)
		SELECT c.code, c.destination, c.refused, c.behind, c.oldest_at, d.reason
		FROM counted c JOIN outbox_dead_letters d USING (position)
		ORDER BY c.refused DESC, c.behind DESC, c.code, c.destination`, s.args()...)
	if err != nil {
		return nil, fmt.Errorf("count dead letters by cause: %w", err)
	}
	causes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Cause])
	if err != nil {
		return nil, fmt.Errorf("count dead letters by cause: %w", err)
	}
	return causes, nil
}
