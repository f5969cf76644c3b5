package recovery

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// A row that was copied from another cluster carries a transaction id of that cluster. While this
// cluster has not reached that id, every snapshot shows the row as not committed. A recovery would
// then miss the row, and no horizon would cover it.

// rewriteRows is the number of rows that one statement gives a transaction id of this cluster. The
// statement takes about a tenth of a second.
const rewriteRows = 5000

// HasImportedRows reports whether the table has rows with transaction ids that this cluster has not
// assigned yet. A row that a statement sees belongs to a transaction that ended before the snapshot
// of the statement. A table without transaction ids has no such rows.
func HasImportedRows(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) (bool, error) {
	if table.Columns.XID == "" {
		return false, nil
	}
	for _, one := range table.Each() {
		if imported, err := hasImportedRows(ctx, pool, one); imported || err != nil {
			return imported, err
		}
	}
	return false, nil
}

func hasImportedRows(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) (bool, error) {
	var imported bool
	query := sql(table, `SELECT EXISTS (SELECT FROM {table} WHERE {xid} >= pg_snapshot_xmax(pg_current_snapshot()))`)
	if err := pool.QueryRow(ctx, query).Scan(&imported); err != nil {
		return false, fmt.Errorf("look for rows that were copied from another cluster: %w", err)
	}
	return imported, nil
}

// importedRows is the range of seq of a table that may contain imported rows.
type importedRows struct {
	table       outboxtable.Table
	first, last int64
}

// findAllImported returns the ranges of all tables that may contain imported rows.
func findAllImported(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) (all []importedRows, err error) {
	for _, one := range table.Each() {
		rows, err := findImported(ctx, pool, one)
		if err != nil {
			return nil, err
		}
		if rows != nil {
			all = append(all, *rows)
		}
	}
	return all, nil
}

// findImported returns the range that may contain imported rows, or nil. It returns an error if the
// role may not update them.
func findImported(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) (*importedRows, error) {
	first, last, err := unsettled(ctx, pool, table)
	if err != nil || first == nil {
		return nil, err
	}
	if err := table.CheckSeq(*first); err != nil {
		return nil, err
	}
	return &importedRows{table, *first, *last}, requireUpdate(ctx, pool, table)
}

// rewriteXIDs gives imported rows transaction ids of this cluster, and reports to done after each
// batch how many rows it has changed. A slot that is created later does not stream these rows, and
// every later snapshot shows them. rewriteXIDs changes no row twice, so it can be interrupted and
// repeated.
//
// A row whose id is below the current xmin is visible in every later snapshot, and keeps its id. A
// row with a higher id is native if that id belongs to the transaction that wrote the row. A native
// row that was written below a savepoint fails this test and is changed too, which is harmless. The
// publication does not publish an UPDATE.
//
// It returns the transactions that changed rows whose ids this cluster had not assigned: those were
// certainly copied.
func (r *importedRows) rewriteXIDs(
	ctx context.Context, pool *pgxpool.Pool, done func(rows int64),
) (copied []uint64, err error) {
	table := r.table
	for after, rows := r.first-1, int64(0); after < r.last; {
		upTo, err := pageEnd(ctx, pool, table, after)
		if err != nil || upTo == after { // retention may have removed the rows
			return copied, err
		}
		changed, xid, err := rewrite(ctx, pool, table, after, upTo, `{xid} >= pg_snapshot_xmax(pg_current_snapshot())`)
		if err != nil {
			return nil, err
		}
		if changed > 0 {
			copied = append(copied, xid)
		}
		others, _, err := rewrite(ctx, pool, table, after, upTo,
			`{xid} >= pg_snapshot_xmin(pg_current_snapshot()) AND {xid}::xid <> xmin`)
		if err != nil {
			return nil, err
		}
		rows += changed + others
		done(rows)
		after = upTo
	}
	return copied, nil
}

// rewrite gives the rows of a page for which a condition holds the id of its own transaction.
func rewrite(
	ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table, after, upTo int64, condition string,
) (rows int64, xid uint64, err error) {
	err = pool.QueryRow(ctx, sql(table, `
		WITH changed AS (
			UPDATE {table} SET {xid} = pg_current_xact_id()
			WHERE {seq} > $1::bigint AND {seq} <= $2::bigint AND (`+condition+`)
			RETURNING 1)
		SELECT count(*), pg_current_xact_id()::text::bigint FROM changed`), after, upTo).Scan(&rows, &xid)
	if err != nil {
		return 0, 0, fmt.Errorf("give rows of %s.%s transaction ids of this cluster: %w", table.Schema, table.Name, err)
	}
	return rows, xid, nil
}

// unsettled returns the range of seq that may contain imported rows, or nil.
func unsettled(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) (first, last *int64, err error) {
	err = pool.QueryRow(ctx, sql(table, `
		WITH candidates AS MATERIALIZED (
			SELECT {seq} AS seq FROM {table} WHERE {xid} >= pg_snapshot_xmin(pg_current_snapshot()))
		SELECT min(seq), max(seq) FROM candidates`)).Scan(&first, &last)
	if err != nil {
		return nil, nil, fmt.Errorf("find the rows that were copied from another cluster: %w", err)
	}
	return first, last, nil
}

// pageEnd returns the seq of the last row of the next page, or after if there are no more rows.
func pageEnd(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table, after int64) (seq int64, err error) {
	err = pool.QueryRow(ctx, sql(table, `
		SELECT coalesce(max(seq), $1)
		FROM (SELECT {seq} AS seq FROM {table} WHERE {seq} > $1::bigint ORDER BY {seq}
			FETCH FIRST $2 ROWS WITH TIES) AS page`),
		after, rewriteRows).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("read rows after seq %d: %w", after, err)
	}
	return seq, nil
}

// requireUpdate returns an error if the role may not change transaction ids. The relay's own role
// only needs to read the table.
func requireUpdate(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) error {
	name := table.Identifier()
	var role string
	var may bool
	err := pool.QueryRow(ctx, `SELECT current_user, pg_catalog.has_column_privilege($1::regclass, $2, 'UPDATE')`,
		name, table.Columns.XID).Scan(&role, &may)
	if err != nil {
		return fmt.Errorf("look up the privileges on %s: %w", name, err)
	}
	if !may {
		return fmt.Errorf("rows of %[1]s need transaction ids of this cluster, and role %[2]s may not change them: "+
			"run relay recover as the table's owner in DATABASE_URL, "+
			"or GRANT UPDATE (%[3]s) ON %[1]s TO %[2]s and revoke it after the command",
			name, outboxtable.Quote(role), outboxtable.Quote(table.Columns.XID))
	}
	return nil
}

func sql(table outboxtable.Table, statement string) string {
	return strings.NewReplacer(
		"{table}", table.From(),
		"{seq}", outboxtable.Quote(table.Columns.Sequence),
		"{xid}", outboxtable.Quote(table.Columns.XID),
		"{created_at}", outboxtable.Quote(table.Columns.CreatedAt),
	).Replace(statement)
}
