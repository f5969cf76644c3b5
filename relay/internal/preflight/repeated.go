package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// repeatedLimit bounds the look for a value that two partitions have. It reads the rows whose
// values lie in the ranges of two partitions, which are few where a range of time has a partition,
// and may be all rows where a tenant has one.
const repeatedLimit = 2 * time.Second

// seqRange is the lowest and the highest value of a column in a partition.
type seqRange struct {
	leaf      string // quoted
	low, high int64
}

// repeatedSeq looks for a value of the sequence column that rows of two partitions have. It returns
// a finding if there is one. One sequence numbers the new rows, and the old ones may come from
// tables that became partitions. Without an answer in time there is no finding: every page of the
// table has all rows of its last value, so no row is skipped.
func (d *database) repeatedSeq(ctx context.Context, name string) (*Finding, error) {
	var l seqLook
	err := pgx.BeginTxFunc(ctx, d.Pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		limit := fmt.Sprintf("SET LOCAL statement_timeout = %d", repeatedLimit.Milliseconds())
		if _, err = tx.Exec(ctx, limit); err != nil {
			return err
		}
		l, err = d.lookAtSeqs(ctx, tx, name)
		return err
	})
	if code, ok := errors.AsType[*pgconn.PgError](err); ok && code.Code == pgerrcode.QueryCanceled {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for values of %s that two partitions have: %w", name, err)
	}
	if l.repeated == nil {
		return nil, nil
	}
	found := degraded(CodeOrder, d.columnObject(name), "rows of different partitions have the same %s, as %d, so "+
		"their events are out of order where the relay reads them from the table (recovery, replay, deferral), and a "+
		"consumer that skips stale events skips newer ones. Move the numbers of the older partitions below those of "+
		"the newer, before the first start, or while no event waits and no dead letter is open (relay status)",
		name, *l.repeated)
	if statement := d.renumber(name, l); statement != "" {
		found = found.with("%s", statement)
	}
	return &found, nil
}

// seqLook describes the values of the sequence column in the partitions.
type seqLook struct {
	ranges   []seqRange // in ascending order of the highest value; nil if the role may not read partitions
	always   bool       // the column is GENERATED ALWAYS
	repeated *int64     // a value that two rows have
}

func (d *database) lookAtSeqs(ctx context.Context, tx pgx.Tx, name string) (l seqLook, err error) {
	var readable bool
	err = tx.QueryRow(ctx, `
		SELECT (SELECT attidentity = 'a' FROM pg_attribute WHERE attrelid = $1 AND attname = $2), coalesce(bool_and(
			pg_catalog.has_table_privilege(c.oid, 'SELECT')
			AND pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')), true)
		FROM pg_catalog.pg_partition_tree($1) t JOIN pg_class c ON c.oid = t.relid WHERE t.isleaf`,
		d.oid, name).Scan(&l.always, &readable)
	if err != nil {
		return l, err
	}
	lows, highs := []int64{math.MinInt64}, []int64{math.MaxInt64}
	if readable { // the privilege to read the table includes none to read a partition by its own name
		if l.ranges, err = d.seqRanges(ctx, tx, name); err != nil {
			return l, err
		}
		lows, highs = overlaps(l.ranges)
	}
	err = tx.QueryRow(ctx, fmt.Sprintf(`
		SELECT (SELECT r.seq FROM unnest($1::bigint[], $2::bigint[]) AS o (low, high), LATERAL (
			SELECT %[1]s AS seq FROM %[2]s WHERE %[1]s BETWEEN o.low AND o.high
			GROUP BY 1 HAVING count(*) > 1 LIMIT 1) AS r LIMIT 1)`,
		outboxtable.Quote(name), d.Table.Identifier()), lows, highs).Scan(&l.repeated)
	return l, err
}

// seqRanges returns the range of each partition that has rows.
func (d *database) seqRanges(ctx context.Context, tx pgx.Tx, name string) (ranges []seqRange, err error) {
	for _, leaf := range d.leaves {
		var low, high *int64
		query := fmt.Sprintf("SELECT pg_catalog.min(%[1]s)::bigint, pg_catalog.max(%[1]s)::bigint FROM %[2]s",
			outboxtable.Quote(name), leaf)
		if err := tx.QueryRow(ctx, query).Scan(&low, &high); err != nil {
			return nil, err
		}
		if low != nil {
			ranges = append(ranges, seqRange{leaf, *low, *high})
		}
	}
	slices.SortStableFunc(ranges, func(a, b seqRange) int { return cmp.Compare(a.high, b.high) })
	return ranges, nil
}

// overlaps returns the ranges that lie in those of two partitions.
func overlaps(ranges []seqRange) (lows, highs []int64) {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b seqRange) int { return cmp.Compare(a.low, b.low) })
	for i := range sorted {
		if i == 0 || sorted[i].low > sorted[i-1].high {
			continue
		}
		lows, highs = append(lows, sorted[i].low), append(highs, min(sorted[i].high, sorted[i-1].high))
		sorted[i].high = max(sorted[i].high, sorted[i-1].high)
	}
	return lows, highs
}

// renumber returns the statements that move the rows of partitions below those of the partitions
// after them. The order of the rows of one partition stays. Each row moves by more than the range
// of its partition, so that a unique index holds during the UPDATE. renumber returns nothing if it
// does not know the ranges, or if they are too large.
func (d *database) renumber(name string, l seqLook) string {
	if len(l.ranges) == 0 {
		return ""
	}
	column := outboxtable.Quote(name)
	var statements []string
	base := l.ranges[len(l.ranges)-1].low
	for _, r := range slices.Backward(l.ranges[:len(l.ranges)-1]) {
		if r.high < base {
			base = r.low
			continue
		}
		size := float64(r.high) - float64(r.low)
		if size > math.MaxInt64/4 || float64(base)-size < math.MinInt64/4 {
			return ""
		}
		shift := max(r.high-base, r.high-r.low) + 1
		base = r.low - shift
		statements = append(statements,
			fmt.Sprintf("UPDATE %s SET %s = %[2]s - %[3]d WHERE %[2]s <= %[4]d", r.leaf, column, shift, r.high))
	}
	if l.always {
		generated := fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET GENERATED ", d.Table.Identifier(), column)
		statements = append([]string{generated + "BY DEFAULT"}, append(statements, generated+"ALWAYS")...)
	}
	return "BEGIN; " + strings.Join(statements, "; ") + "; COMMIT;"
}
