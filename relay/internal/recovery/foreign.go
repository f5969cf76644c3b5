package recovery

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
)

// A row that was copied from another cluster carries a transaction id of that cluster. If this one has not come to that id yet,
// the row counts as not written yet in every snapshot: a recovery would pass it by, and no horizon would cover it.

// adoptRows is how many rows one statement gives a transaction id of this cluster: about a tenth of a second.
const adoptRows = 5000

// HasForeignRows reports whether the table has rows with transaction ids that this cluster has yet to give out. (A row that a
// statement sees is of a transaction that has ended before its snapshot.)
func HasForeignRows(ctx context.Context, pool *pgxpool.Pool, table pgoutput.Table) (bool, error) {
	var foreign bool
	query := sql(table, `SELECT EXISTS (SELECT FROM {table} WHERE {xid} >= pg_snapshot_xmax(pg_current_snapshot()))`)
	if err := pool.QueryRow(ctx, query).Scan(&foreign); err != nil {
		return false, fmt.Errorf("look for rows of another cluster: %w", err)
	}
	return foreign, nil
}

// adoption is the range of seq in which rows of another cluster may be.
type adoption struct{ first, last int64 }

// findForeign returns where rows of another cluster may be, or nil, or an error if they may not be changed.
func findForeign(ctx context.Context, pool *pgxpool.Pool, table pgoutput.Table) (*adoption, error) {
	first, last, err := unsettled(ctx, pool, table)
	if err != nil || first == nil {
		return nil, err
	}
	return &adoption{*first, *last}, requireUpdate(ctx, pool, table)
}

// adopt gives the rows of another cluster transaction ids of this one, and tells after each batch how many it has done. A slot that is
// made later does not bring them, and every snapshot from then on shows them. It changes no row twice, so it can be broken off
// and begun again.
//
// A row below the xmin of this moment counts as written in every later snapshot, and may stay. From there on, one is this
// cluster's own if its id is that of the transaction which wrote it. (Below a savepoint it is not: such a row is
// changed too, which does no harm.) An UPDATE is not published.
func (a *adoption) adopt(ctx context.Context, pool *pgxpool.Pool, table pgoutput.Table, done func(rows int64)) error {
	for after, rows := a.first-1, int64(0); after < a.last; {
		upTo, err := pageEnd(ctx, pool, table, after)
		if err != nil || upTo == after { // those that were there may be removed by now
			return err
		}
		tag, err := pool.Exec(ctx, sql(table, `
			UPDATE {table} SET {xid} = pg_current_xact_id()
			WHERE {seq} > $1 AND {seq} <= $2 AND ({xid} >= pg_snapshot_xmax(pg_current_snapshot())
			   OR {xid} >= pg_snapshot_xmin(pg_current_snapshot()) AND {xid}::xid <> xmin)`), after, upTo)
		if err != nil {
			return fmt.Errorf("give rows of %s.%s transaction ids of this cluster: %w", table.Schema, table.Name, err)
		}
		rows += tag.RowsAffected()
		done(rows)
		after = upTo
	}
	return nil
}

// unsettled returns the range of seq in which rows of another cluster may be, or nil.
func unsettled(ctx context.Context, pool *pgxpool.Pool, table pgoutput.Table) (first, last *int64, err error) {
	err = pool.QueryRow(ctx, sql(table, `
		WITH candidates AS MATERIALIZED (SELECT {seq} AS seq FROM {table} WHERE {xid} >= pg_snapshot_xmin(pg_current_snapshot()))
		SELECT min(seq), max(seq) FROM candidates`)).Scan(&first, &last)
	if err != nil {
		return nil, nil, fmt.Errorf("find rows of another cluster: %w", err)
	}
	return first, last, nil
}

// pageEnd returns the seq of the last of the next rows, or after if there are none.
func pageEnd(ctx context.Context, pool *pgxpool.Pool, table pgoutput.Table, after int64) (seq int64, err error) {
	err = pool.QueryRow(ctx, sql(table, `
		SELECT coalesce(max(seq), $1) FROM (SELECT {seq} AS seq FROM {table} WHERE {seq} > $1 ORDER BY {seq} LIMIT $2) AS page`),
		after, adoptRows).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("read rows after seq %d: %w", after, err)
	}
	return seq, nil
}

// requireUpdate says what the role lacks: the relay's own only has to read the table.
func requireUpdate(ctx context.Context, pool *pgxpool.Pool, table pgoutput.Table) error {
	name := table.Identifier()
	var role string
	var may bool
	err := pool.QueryRow(ctx, `SELECT current_user, has_column_privilege($1::regclass, $2, 'UPDATE')`, name, table.Columns.XID).Scan(&role, &may)
	if err != nil {
		return fmt.Errorf("look up the rights on %s: %w", name, err)
	}
	if !may {
		return fmt.Errorf("rows of %[1]s need transaction ids of this cluster, and role %[2]s may not change them: run relay recover with a role that "+
			"may in DATABASE_URL, such as the table's owner, or GRANT UPDATE (%[3]s) ON %[1]s TO %[2]s for the time of the command",
			name, pgoutput.Quote(role), pgoutput.Quote(table.Columns.XID))
	}
	return nil
}

// sql puts the names of the table into a statement.
func sql(table pgoutput.Table, statement string) string {
	return strings.NewReplacer(
		"{table}", table.From(),
		"{seq}", pgoutput.Quote(table.Columns.Sequence),
		"{xid}", pgoutput.Quote(table.Columns.XID),
		"{created_at}", pgoutput.Quote(table.Columns.CreatedAt),
	).Replace(statement)
}
