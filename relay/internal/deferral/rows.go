package deferral

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// lookRows is how many rows of the table one statement looks at, and lookGroupRows if it looks for
// those of one aggregate. That takes some milliseconds, however few of them wait.
const lookRows, lookGroupRows = 2000, 10_000

// Page reads the rows behind a seq for which a condition holds, in order of seq. The parameters of
// the condition begin at $4.
type Page func(ctx context.Context, after int64, condition string, args ...any) ([]outbox.Envelope, int64, error)

// Rows finds the rows of the outbox tables that a deferral has yet to deliver, by their common
// seqs.
type Rows struct {
	store   *Store
	tables  []tableRows // in the order of the common seqs
	rowsOf  func(outboxtable.Table) tableRows
	outside *outside // nil for one table
}

// tableRows finds the rows of one table, by their seqs.
type tableRows struct {
	table outboxtable.Table
	page  Page

	firstRow, lookAtRows, lookAtGroup string // statements
	aggregate, countRows              string // statements
	bySeq                             string // condition
}

// NewRows returns Rows of the tables that table describes. pageOf returns how rows of one are read.
func NewRows(store *Store, table outboxtable.Table, pageOf func(outboxtable.Table) Page) *Rows {
	r := &Rows{store: store, rowsOf: func(one outboxtable.Table) tableRows {
		t := newTableRows(one)
		if pageOf != nil {
			t.page = pageOf(one)
		}
		return t
	}}
	for _, one := range table.Each() {
		r.tables = append(r.tables, r.rowsOf(one))
	}
	return r
}

func newTableRows(table outboxtable.Table) tableRows {
	c, text := table.Columns, outboxtable.Texts(table, "e.")
	names := strings.NewReplacer("{table}", table.From(), "{seq}", outboxtable.Quote(c.Sequence),
		"{xid}", outboxtable.Quote(c.XID), "{not_done}", NotDoneSQL(table, "e.", "d."),
		"{aggregate_type}", text.AggregateType, "{aggregate_id}", text.AggregateID, "{route}", text.Route,
		"{event_type}", text.EventType, "{filter}", table.FilterSQL("e"))
	look := func(more string) string { return names.Replace(strings.Replace(lookAtRows, "{more}", more, 1)) }
	return tableRows{
		table: table, firstRow: names.Replace(firstRow), lookAtRows: look(""),
		lookAtGroup: look("AND {aggregate_id} = $7 AND {aggregate_type} = $8"), aggregate: names.Replace(aggregateOf),
		countRows: names.Replace(countRows),
		bySeq:     outboxtable.Quote(c.Sequence) + " = ANY ($4::bigint[])",
	}
}

// of returns the table with a common seq, and the seq in it. It reports false if there is none.
func (r *Rows) of(common int64) (t *tableRows, own int64, found bool) {
	for i := range r.tables {
		own := r.tables[i].table.Source.Own(common)
		if own != math.MinInt64 && own != math.MaxInt64 || r.tables[i].table.Source == nil {
			return &r.tables[i], own, true
		}
	}
	for _, t := range r.outside.known() {
		if own := t.table.Source.Own(common); own != math.MinInt64 && own != math.MaxInt64 {
			return t, own, true
		}
	}
	return nil, 0, false
}

// aggregateOf returns the aggregate of a row.
const aggregateOf = `SELECT {aggregate_type}, {aggregate_id} FROM {table} e WHERE e.{seq} = $1::bigint`

// firstRow returns the lowest seq of a row that known does not show, which may not be done.
// pg_visible_in_snapshot is false for an xid exactly if the snapshot lists it as running or it is
// not below xmax. Both are conditions of the index on xid. Rows of other transactions from xmin on
// are done, and one old transaction may be followed by millions of them.
const firstRow = `
	WITH late AS MATERIALIZED (
		SELECT {seq} AS seq FROM {table} WHERE {xid} = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot)))
		UNION ALL
		SELECT {seq} FROM {table} WHERE {xid} >= pg_snapshot_xmax($1::pg_snapshot))
	SELECT min(seq)::bigint FROM late`

// lookAtRows returns, of the next rows, those that are visible in To and not done, and the seq of
// the last row that it looked at.
const lookAtRows = `
	WITH d AS (SELECT $1::pg_snapshot AS known, $2::bigint AS from_seq), looked AS MATERIALIZED (
		SELECT e.{seq} AS seq, {aggregate_type} AS aggregate_type, {aggregate_id} AS aggregate_id,
			{event_type} AS event_type, {route} AS route,
			pg_visible_in_snapshot(e.{xid}, $3::pg_snapshot) AND {not_done} {more} AS due,
			pg_visible_in_snapshot(e.{xid}, $6::pg_snapshot) AS is_seen
		FROM {table} e CROSS JOIN d WHERE e.{seq} > $4::bigint AND {filter} ORDER BY e.{seq}
		FETCH FIRST $5 ROWS WITH TIES
	)
	SELECT seq, CASE WHEN due THEN aggregate_type ELSE '' END, CASE WHEN due THEN aggregate_id ELSE '' END,
		CASE WHEN due THEN event_type ELSE '' END, CASE WHEN due THEN route ELSE '' END, due IS TRUE, is_seen IS TRUE
	FROM looked WHERE due OR seq = (SELECT max(seq) FROM looked) ORDER BY seq`

// first returns the lowest common seq of a row that may not be done; endless if there is none. It
// returns the error of [outboxtable.Table.CheckSeq] if no number is before that row.
func (r *Rows) first(ctx context.Context, h *held, m mark) (lowest int64, err error) {
	ctx, done, err := r.store.takeScan(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	tables, err := r.tablesOf(ctx, h)
	if err != nil || len(tables) == 0 {
		return endless, err
	}
	lowest = m.fromSeq
	for _, t := range tables {
		if !h.mayHave(t.table.Source) {
			continue
		}
		var late *int64
		if err := r.store.pool.QueryRow(ctx, t.firstRow, m.known.String()).Scan(&late); err != nil {
			return 0, fmt.Errorf("find the first row that waits: %w", err)
		}
		if late == nil {
			continue
		}
		if err := t.table.CheckSeq(*late); err != nil {
			return 0, err
		}
		if common, err := t.table.Source.Common(*late); err == nil {
			lowest = min(lowest, common)
		}
	}
	if lowest == math.MinInt64 {
		return 0, tables[0].table.CheckSeq(lowest)
	}
	return lowest, nil
}

// look is a part of the table.
type look struct {
	seqs []int64 // of the rows that are due, in order
	last int64   // of all rows
	end  bool    // no row follows
}

// wanted tells which rows belong to a deferral: by the fields that routes read, the seq, and
// whether held.seen shows them.
type wanted func(e *outbox.Envelope, seq int64, isSeen bool) bool

// next looks at the rows of a deferral behind the common seq after, in the first table that has
// further rows.
func (r *Rows) next(ctx context.Context, h *held, m mark, to string, after int64, wants wanted) (l look, err error) {
	ctx, done, err := r.store.takeScan(ctx)
	if err != nil {
		return l, err
	}
	defer done()
	tables, err := r.tablesOf(ctx, h)
	if err != nil {
		return l, err
	}
	for _, t := range tables {
		own := t.table.Source.Own(after)
		if !h.mayHave(t.table.Source) || t.table.Source != nil && own == math.MaxInt64 {
			continue
		}
		if l, err = r.nextOf(ctx, t, h, m, to, own, wants); err != nil || !l.end {
			return l, err
		}
	}
	return look{end: true}, nil
}

// nextOf is next for one table. after is a seq in it.
func (r *Rows) nextOf(
	ctx context.Context, t tableRows, h *held, m mark, to string, after int64, wants wanted,
) (l look, err error) {
	sql, args := t.lookAtRows, []any{m.known.String(), m.fromSeq, to, after, lookRows, h.seenText()}
	if p := h.stored.place(); p.IsGroup() {
		args[4] = lookGroupRows
		sql, args = t.lookAtGroup, append(args, p.AggregateID, p.AggregateType)
	}
	rows, err := r.store.pool.Query(ctx, sql, args...)
	if err != nil {
		return l, fmt.Errorf("look for rows that wait behind seq %d: %w", after, err)
	}
	l.end = true
	e := outbox.Envelope{Source: t.table.Source}
	var seq int64
	var due, isSeen bool
	columns := []any{&seq, &e.AggregateType, &e.AggregateID, &e.EventType, &e.Route, &due, &isSeen}
	_, err = pgx.ForEachRow(rows, columns, func() (err error) {
		l.end = false
		if l.last, err = t.table.Source.Common(seq); err != nil {
			return err
		}
		if due && wants(&e, l.last, isSeen) && (len(l.seqs) == 0 || l.seqs[len(l.seqs)-1] != l.last) {
			l.seqs = append(l.seqs, l.last)
		}
		return nil
	})
	if err != nil {
		return l, fmt.Errorf("look for rows that wait behind seq %d: %w", after, err)
	}
	return l, nil
}

// placeOf returns the place of a row, by its common seq, at a destination. It reports false if the
// row is not visible.
func (r *Rows) placeOf(ctx context.Context, destination string, seq int64) (p Place, found bool, err error) {
	ctx, done, err := r.store.takeTurn(ctx)
	if err != nil {
		return p, false, err
	}
	defer done()
	t, own, found := r.of(seq)
	if !found {
		return p, false, nil
	}
	e := outbox.Envelope{Source: t.table.Source}
	err = r.store.pool.QueryRow(ctx, t.aggregate, own).Scan(&e.AggregateType, &e.AggregateID)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("read the aggregate of the row with seq %d: %w", seq, err)
	}
	return placeOf(destination, &e), true, nil
}
