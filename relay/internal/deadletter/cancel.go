package deadletter

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// CancelRedrive makes the selected dead letters that are being redriven stay parked, with those of
// their groups, so that nothing overtakes them. It returns their number. The relay asks before each
// attempt, so a dead letter that is in flight may still arrive.
func CancelRedrive(ctx context.Context, pool *pgxpool.Pool, s Selection) (canceled int64, err error) {
	rows, err := pool.Query(ctx, `
		WITH chosen AS (
			SELECT position, outbox_table, destination, message_group, blocks_group FROM outbox_dead_letters d
			WHERE state = 'redriving' AND `+selected+`
		)
		UPDATE outbox_dead_letters d SET state = 'parked', updated_at = clock_timestamp()
		WHERE d.state = 'redriving' AND (d.position IN (SELECT position FROM chosen) OR d.blocks_group AND EXISTS (
			SELECT FROM chosen c WHERE c.blocks_group
			  AND (c.outbox_table, c.destination, c.message_group) = (d.outbox_table, d.destination, d.message_group))
			AND `+isOwn("d")+`)
		RETURNING d.position`, s.args()...)
	if err != nil {
		return 0, fmt.Errorf("cancel the redrive of dead letters: %w", err)
	}
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("cancel the redrive of dead letters: %w", err)
	}
	return int64(len(positions)), nil
}
