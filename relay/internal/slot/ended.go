package slot

import (
	"context"
	"fmt"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgxpool"
)

// NextXID assigns a transaction id and returns it.
func NextXID(ctx context.Context, pool *pgxpool.Pool) (xid uint64, err error) {
	if err := pool.QueryRow(ctx, `SELECT pg_current_xact_id()::text::bigint`).Scan(&xid); err != nil {
		return 0, fmt.Errorf("assign a transaction id: %w", err)
	}
	return xid, nil
}

// HaveEnded reports whether every transaction up to xid has ended, in every database of the
// cluster. If so, after is a log position behind their ends.
func HaveEnded(ctx context.Context, pool *pgxpool.Pool, xid uint64) (ended bool, after pglogrepl.LSN, err error) {
	err = pool.QueryRow(ctx, `
		SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint > $1, pg_current_wal_insert_lsn()`,
		xid).Scan(&ended, &after)
	if err != nil {
		return false, 0, fmt.Errorf("check whether transaction %d has ended: %w", xid, err)
	}
	return ended, after, nil
}

// UpTo returns the pg_snapshot in which exactly the transactions up to xid are visible.
func UpTo(xid uint64) string { return fmt.Sprintf("%d:%[1]d:", xid+1) }
