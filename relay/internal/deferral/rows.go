package deferral

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// lookRows is how many rows of the table one statement looks at, and lookGroupRows if it looks for
// those of one aggregate. That takes some milliseconds, however few of them wait.
const lookRows, lookGroupRows = 2000, 10_000

// pageRows is how many rows are read at once.
const pageRows = 200

// Rows finds the rows of the outbox table that a deferral has yet to deliver.
type Rows struct {
	store *Store
	// page reads the rows behind a seq for which a condition holds, in order of seq. The parameters
	// of the condition begin at $4.
	page func(ctx context.Context, after int64, condition string, args ...any) ([]outbox.Envelope, int64, error)

	firstRow, lookAtRows, lookAtGroup string // statements
	aggregate, countRows              string // statements
	bySeq                             string // condition
}

// NewRows returns Rows of a table. page reads rows as the recovery does.
func NewRows(
	store *Store, table outboxtable.Table,
	page func(ctx context.Context, after int64, condition string, args ...any) ([]outbox.Envelope, int64, error),
) *Rows {
	c, text := table.Columns, outboxtable.Texts(table, "e.")
	names := strings.NewReplacer("{table}", table.From(), "{seq}", outboxtable.Quote(c.Sequence),
		"{xid}", outboxtable.Quote(c.XID), "{not_done}", NotDoneSQL(table, "e.", "d."),
		"{aggregate_type}", text.AggregateType, "{aggregate_id}", text.AggregateID, "{route}", text.Route,
		"{event_type}", text.EventType, "{filter}", table.FilterSQL("e"))
	look := func(more string) string { return names.Replace(strings.Replace(lookAtRows, "{more}", more, 1)) }
	return &Rows{
		store: store, page: page, firstRow: names.Replace(firstRow), lookAtRows: look(""),
		lookAtGroup: look("AND {aggregate_id} = $7 AND {aggregate_type} = $8"), aggregate: names.Replace(aggregateOf),
		countRows: names.Replace(countRows),
		bySeq:     outboxtable.Quote(c.Sequence) + " = ANY ($4::bigint[])",
	}
}

// aggregateOf returns the aggregate of a row.
const aggregateOf = `SELECT {aggregate_type}, {aggregate_id} FROM {table} e WHERE e.{seq} = $1`

// firstRow returns the lowest seq of a row that may not be done: from_seq, or that of a row which
// known does not show. pg_visible_in_snapshot is false for an xid exactly if the snapshot lists it
// as running or it is not below xmax. Both are conditions of the index on xid. Rows of other
// transactions from xmin on are done, and one old transaction may be followed by millions of them.
const firstRow = `
	WITH late AS MATERIALIZED (
		SELECT {seq} AS seq FROM {table} WHERE {xid} = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot)))
		UNION ALL
		SELECT {seq} FROM {table} WHERE {xid} >= pg_snapshot_xmax($1::pg_snapshot))
	SELECT least($2::bigint, (SELECT min(seq) FROM late))`

// lookAtRows returns, of the next rows, those that are visible in To and not done, and the seq of
// the last row that it looked at.
const lookAtRows = `
	WITH d AS (SELECT $1::pg_snapshot AS known, $2::bigint AS from_seq), looked AS MATERIALIZED (
		SELECT e.{seq} AS seq, {aggregate_type} AS aggregate_type, {aggregate_id} AS aggregate_id,
			{event_type} AS event_type, {route} AS route,
			pg_visible_in_snapshot(e.{xid}, $3::pg_snapshot) AND {not_done} {more} AS due,
			pg_visible_in_snapshot(e.{xid}, $6::pg_snapshot) AS is_seen
		FROM {table} e CROSS JOIN d WHERE e.{seq} > $4::bigint AND {filter} ORDER BY e.{seq} LIMIT $5
	)
	SELECT seq, CASE WHEN due THEN aggregate_type ELSE '' END, CASE WHEN due THEN aggregate_id ELSE '' END,
		CASE WHEN due THEN event_type ELSE '' END, CASE WHEN due THEN route ELSE '' END, due IS TRUE, is_seen IS TRUE
	FROM looked WHERE due OR seq = (SELECT max(seq) FROM looked) ORDER BY seq`

// first returns the lowest seq of a row that may not be done; endless if there is none.
func (r *Rows) first(ctx context.Context, m mark) (seq int64, err error) {
	ctx, done, err := r.store.takeScan(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	if err := r.store.pool.QueryRow(ctx, r.firstRow, m.known.String(), m.fromSeq).Scan(&seq); err != nil {
		return 0, fmt.Errorf("find the first row that waits: %w", err)
	}
	return seq, nil
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

// next looks at the rows of a deferral behind the seq after.
func (r *Rows) next(ctx context.Context, h *held, m mark, to string, after int64, wants wanted) (l look, err error) {
	ctx, done, err := r.store.takeScan(ctx)
	if err != nil {
		return l, err
	}
	defer done()
	sql, args := r.lookAtRows, []any{m.known.String(), m.fromSeq, to, after, lookRows, h.seenText()}
	if p := h.stored.place(); p.IsGroup() {
		args[4] = lookGroupRows
		sql, args = r.lookAtGroup, append(args, p.AggregateID, p.AggregateType)
	}
	rows, err := r.store.pool.Query(ctx, sql, args...)
	if err != nil {
		return l, fmt.Errorf("look for rows that wait behind seq %d: %w", after, err)
	}
	l.end = true
	var e outbox.Envelope
	var due, isSeen bool
	columns := []any{&l.last, &e.AggregateType, &e.AggregateID, &e.EventType, &e.Route, &due, &isSeen}
	_, err = pgx.ForEachRow(rows, columns, func() error {
		l.end = false
		if due && wants(&e, l.last, isSeen) {
			l.seqs = append(l.seqs, l.last)
		}
		return nil
	})
	if err != nil {
		return l, fmt.Errorf("look for rows that wait behind seq %d: %w", after, err)
	}
	return l, nil
}

// placeOf returns the place of a row at a destination. It reports false if the row is not visible.
func (r *Rows) placeOf(ctx context.Context, destination string, seq int64) (p Place, found bool, err error) {
	ctx, done, err := r.store.takeTurn(ctx)
	if err != nil {
		return p, false, err
	}
	defer done()
	p.Destination = destination
	err = r.store.pool.QueryRow(ctx, r.aggregate, seq).Scan(&p.AggregateType, &p.AggregateID)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("read the aggregate of the row with seq %d: %w", seq, err)
	}
	return p, true, nil
}

// countRows counts rows by their seqs.
const countRows = `SELECT count(*) FROM {table} WHERE {seq} = ANY ($1::bigint[])`

// areVisible reports whether the table has all rows with these seqs.
func (r *Rows) areVisible(ctx context.Context, seqs []int64) (bool, error) {
	ctx, done, err := r.store.takeTurn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	var found int
	if err := r.store.pool.QueryRow(ctx, r.countRows, seqs).Scan(&found); err != nil {
		return false, fmt.Errorf("look for the rows of %d events: %w", len(seqs), err)
	}
	return found >= len(seqs), nil
}

// read calls take for the rows with these seqs, in order. Rows that were removed meanwhile are
// missing.
func (r *Rows) read(ctx context.Context, seqs []int64, take func(seq int64, e *outbox.Envelope) error) error {
	for chunk := range slices.Chunk(seqs, pageRows) {
		if err := r.readChunk(ctx, chunk, take); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rows) readChunk(ctx context.Context, seqs []int64, take func(seq int64, e *outbox.Envelope) error) error {
	for after, last := seqs[0]-1, seqs[len(seqs)-1]; after < last; {
		page, reached, err := r.pageOf(ctx, after, seqs)
		switch {
		case err != nil:
			return err
		case len(page) == 0:
			return nil
		}
		for i := range page {
			seq, err := strconv.ParseInt(page[i].Sequence, 10, 64)
			if err != nil {
				return fmt.Errorf("row that waits behind seq %d: its seq is no number: %w", after, err)
			}
			if err := take(seq, &page[i]); err != nil {
				return err
			}
		}
		after = reached
	}
	return nil
}

func (r *Rows) pageOf(ctx context.Context, after int64, seqs []int64) ([]outbox.Envelope, int64, error) {
	ctx, done, err := r.store.takeScan(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	return r.page(ctx, after, r.bySeq, seqs)
}
