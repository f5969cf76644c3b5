package deferral

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Summary counts the deferrals of a destination that have one reason and wait.
type Summary struct {
	Destination string
	Reason      string
	Groups      int    // aggregates; 0 if all events of the destination wait
	Events      int64  // about how many wait
	Largest     string // type and id of the aggregate with the most events; empty without one
	Since       time.Time
}

// Summarize returns how many events wait in the outbox table, and why.
func Summarize(ctx context.Context, pool *pgxpool.Pool, slotName, table string) ([]Summary, error) {
	rows, err := pool.Query(ctx, `
		SELECT d.destination, d.reason, count(*) FILTER (WHERE d.aggregate_id <> ''), sum(d.events)::bigint,
			coalesce((pg_catalog.array_agg(d.aggregate_type || ' ' || d.aggregate_id ORDER BY d.events DESC)
				FILTER (WHERE d.aggregate_id <> ''))[1], ''), min(d.since)
		FROM outbox_deferrals d
		WHERE d.slot_name = $1 AND d.outbox_table = $2 AND d.state = 'deferred'
		GROUP BY d.destination, d.reason, d.aggregate_id <> ''
		ORDER BY d.destination, min(d.since)`, slotName, table)
	if err != nil {
		return nil, fmt.Errorf("count the deferrals of slot %s: %w", slotName, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Summary])
	if err != nil {
		return nil, fmt.Errorf("count the deferrals of slot %s: %w", slotName, err)
	}
	return all, nil
}

// Summarize returns how many events of this slot wait in the outbox table, and why.
func (s *Store) Summarize(ctx context.Context) ([]Summary, error) {
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return Summarize(ctx, s.pool, s.fence.Slot, s.table)
}
