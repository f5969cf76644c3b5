package history

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// deadLetters returns the dead letters of events, the last first.
func (f *Finder) deadLetters(ctx context.Context, pool *pgxpool.Pool, ids []string) (map[string][]DeadLetter, error) {
	rows, err := pool.Query(ctx, `
		SELECT coalesce(row_event_id, event_id), position, state, destination, code, reason, attempts, parked_at
		FROM outbox_dead_letters d
		WHERE outbox_table = $1 AND coalesce(row_event_id, event_id) = ANY ($2)
		  AND `+outboxtable.OwnDeadLetterSQL("d", "$3")+`
		ORDER BY position DESC LIMIT 1000`, f.tableName(), ids, f.Slot)
	if err != nil {
		return nil, fmt.Errorf("read the dead letters of %s: %w", f.Table, err)
	}
	found := map[string][]DeadLetter{}
	var id string
	var d DeadLetter
	_, err = pgx.ForEachRow(
		rows,
		[]any{&id, &d.Position, &d.State, &d.Destination, &d.Code, &d.Reason, &d.Attempts, &d.ParkedAt},
		func() error {
			found[id] = append(found[id], d)
			return nil
		},
	)
	if err != nil {
		return nil, fmt.Errorf("read the dead letters of %s: %w", f.Table, err)
	}
	return found, nil
}

// blocked returns the dead letters that block message groups.
func (f *Finder) blocked(ctx context.Context, pool *pgxpool.Pool, groups []string) (map[string]int64, error) {
	rows, err := pool.Query(ctx, `
		SELECT message_group, min(position) FROM outbox_dead_letters d
		WHERE state IN ('parked', 'redriving') AND blocks_group AND outbox_table = $1 AND message_group = ANY ($2)
		  AND `+outboxtable.OwnDeadLetterSQL("d", "$3")+`
		GROUP BY 1`,
		f.tableName(), groups, f.Slot)
	if err != nil {
		return nil, fmt.Errorf("read the dead letters of %s: %w", f.Table, err)
	}
	found := map[string]int64{}
	var group string
	var position int64
	_, err = pgx.ForEachRow(rows, []any{&group, &position}, func() error {
		found[group] = position
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the dead letters of %s: %w", f.Table, err)
	}
	return found, nil
}
