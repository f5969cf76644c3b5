package audit

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// CountSQL returns the statement of [Table.Count].
func CountSQL(table outboxtable.Table) string { return NewTable(nil, table).sql(count) }

const testTimeout = time.Minute

// BaselineOf returns the baseline of the ledgers of a table.
func BaselineOf(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) (Baseline, error) {
	l := newLedgers(pool, table)
	return l.baseline(ctx, testTimeout)
}

// IsIndexed reports whether the audit finds an index on xid.
func IsIndexed(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) (bool, error) {
	l := newLedgers(pool, table)
	unindexed, err := l.unindexed(ctx, testTimeout)
	return unindexed == nil, err
}
