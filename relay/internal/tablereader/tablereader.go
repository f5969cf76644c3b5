// Package tablereader reads rows of an outbox table in pages, in order of seq.
package tablereader

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// pageRows and pageBytes bound one page. The last row may exceed pageBytes, because a row larger
// than the bound has to be read as well. A page has all rows of its last seq, because the next page
// begins behind that seq: rows of different partitions may have the same one.
const (
	pageRows  = 200
	pageBytes = 4 << 20
)

// Reader reads the rows of one outbox table.
type Reader struct {
	pool  *pgxpool.Pool
	table outboxtable.Table
}

// New returns a Reader of table.
func New(pool *pgxpool.Pool, table outboxtable.Table) *Reader {
	return &Reader{pool: pool, table: table}
}

// Page reads the next rows behind the seq after for which condition holds. It returns the error of
// [outboxtable.Table.CheckSeq] if no number is before the first of them. condition is an SQL
// expression whose parameters begin at $4. Page returns the seq of the last row, and no rows at the
// end.
func (r *Reader) Page(
	ctx context.Context, after int64, condition string, args ...any,
) (page []outbox.Envelope, last int64, err error) {
	rows, err := r.pool.Query(ctx, r.pageQuery(after, condition), append([]any{after, pageRows, pageBytes}, args...)...)
	if err != nil {
		return nil, 0, fmt.Errorf("read rows of %s after seq %d: %w", r.table.From(), after, err)
	}
	var binary, isBytes bool
	page, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (outbox.Envelope, error) {
		var e outbox.Envelope
		err := row.Scan(&binary, &isBytes, &last, &e.ID, &e.Sequence, &e.XID, &e.AggregateType, &e.AggregateID,
			&e.EventType, &e.Payload, &e.Headers, &e.CreatedAt, &e.Tenant, &e.Route, &e.Extra)
		e.Source = r.table.Source
		if err == nil && isBytes {
			err = pgoutput.EncodePayload(&e)
		}
		return e, err
	})
	if err == nil && binary {
		err = outboxtable.ErrBinary
	}
	if err == nil && len(page) > 0 && page[0].Sequence == lowestSeq {
		err = r.table.CheckSeq(math.MinInt64)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read rows of %s after seq %d: %w", r.table.From(), after, err)
	}
	return page, last, nil
}

// lowestSeq is the seq that has no number before it.
var lowestSeq = strconv.FormatInt(math.MinInt64, 10)

func (r *Reader) pageQuery(after int64, condition string) string {
	behind := ">"
	if after == math.MinInt64 {
		behind = ">=" // to find a row that has this seq
	}
	c, text := r.table.Columns, outboxtable.Texts(r.table, "")
	var columns, names []string
	for i, expression := range []string{
		text.ID, text.Sequence, text.XID, text.AggregateType, text.AggregateID, text.EventType, text.Payload,
		text.Headers, text.CreatedAt, text.Tenant, text.Route, outboxtable.ExtraSQL(r.table, ""),
	} {
		name := fmt.Sprintf("c%d", i)
		columns, names = append(columns, expression+" AS "+name), append(names, name)
	}
	return fmt.Sprintf(`
		WITH page AS (
			SELECT %[3]s AS number, pg_catalog.octet_length(%[5]s) + pg_catalog.octet_length(%[6]s) AS bytes,
				%[1]s FROM %[2]s
			WHERE %[4]s AND %[3]s %[11]s $1::bigint AND %[9]s
			ORDER BY %[3]s FETCH FIRST $2 ROWS WITH TIES
		), summed AS (
			SELECT *, coalesce(sum(bytes) OVER (
				ORDER BY number GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
			FROM page
		)
		SELECT %[8]s, %[10]s, number, %[7]s FROM summed WHERE before < $3 ORDER BY number`,
		strings.Join(columns, ", "), r.table.From(), outboxtable.Quote(c.Sequence), condition,
		text.Payload, text.Headers, strings.Join(names, ", "), outboxtable.HasBinarySQL(r.table),
		r.table.FilterSQL(""), outboxtable.PayloadIsBytesSQL(r.table), behind)
}
