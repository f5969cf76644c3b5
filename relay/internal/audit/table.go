package audit

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// Table counts rows of the outbox table.
type Table struct {
	pool  *pgxpool.Pool
	table outboxtable.Table
}

// NewTable returns a Table for the outbox table.
func NewTable(pool *pgxpool.Pool, table outboxtable.Table) *Table {
	return &Table{pool: pool, table: table}
}

// indexed has the number of each of the tables that have an index on xid, so that a range of rows
// can be found without reading the whole table.
const indexed = `
	SELECT t.n - 1 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (identifier, xid, n)
	WHERE EXISTS (
		SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
		WHERE i.indrelid = to_regclass(t.identifier) AND a.attname = t.xid AND i.indisvalid AND i.indpred IS NULL)
	ORDER BY 1`

// Baseline is the starting point of a [Ledger].
type Baseline struct {
	XID uint64
	// Imported reports that a row of the table has an xid that this cluster has not assigned yet.
	Imported bool
	// Seq is the highest seq in the table. A transaction above XID inserts its rows above Seq.
	Seq int64
}

// baseline assigns a new xid. A row that the statement sees, with an xid that its own snapshot does
// not show as assigned, was imported.
const baseline = `
	SELECT pg_current_xact_id()::text, coalesce((
		SELECT {xid} FROM {table} WHERE {xid} >= pg_snapshot_xmax(pg_current_snapshot()) ORDER BY {xid}
			DESC LIMIT 1)::text, '0'),
		coalesce((SELECT pg_catalog.max({seq}) FROM {table}), 0)`

// baselineOf reads the number of a table and the columns of [baseline]. XID is above that of every
// transaction that has started and of every existing row.
func baselineOf(row pgx.CollectableRow) (Baseline, error) {
	var ownText, importedText string
	var seq int64
	if err := row.Scan(nil, &ownText, &importedText, &seq); err != nil {
		return Baseline{}, err
	}
	own, err := pgsnapshot.ParseXID(ownText)
	if err != nil {
		return Baseline{}, err
	}
	imported, err := pgsnapshot.ParseXID(importedText)
	if err != nil {
		return Baseline{}, err
	}
	return Baseline{XID: max(own, imported), Imported: imported > own, Seq: seq}, nil
}

// count reads two short ranges of the index on xid. A single range from the snapshot's xmin could
// be long, because a prepared transaction holds xmin back for days.
const count = `
	SELECT (SELECT count(*) FROM {table}
	        WHERE {xid} >= $1::text::xid8 AND {xid} < $2::text::xid8 AND pg_visible_in_snapshot({xid},
	        	$3::text::pg_snapshot) AND {filter})
	     + (SELECT count(*) FROM {table} WHERE {xid} = ANY ($4::text[]::xid8[]) AND {filter})`

// numbers lists the rows of a step that [count] counts, without the rows that existed before. An
// update can give an existing row the xid of a new transaction, but never a new seq. Rows of
// partitions that are not accounted for are excluded, because package members accounts for them.
const numbers = `
	SELECT {seq} FROM {table} e
	WHERE ({xid} >= $1::text::xid8 AND {xid} < $2::text::xid8 AND pg_visible_in_snapshot({xid}, $3::text::pg_snapshot)
	   OR {xid} = ANY ($4::text[]::xid8[])) AND {seq} > $5::bigint AND {accounted} AND {filter_e}`

// Missing returns the number of the step's rows that the stream did not bring. rowsOfStep is the
// number of the step's rows in the table. Rows up to the seq after existed before. If rows have no
// seq, the result is the difference between the rows in the table and the rows from the stream.
func (t *Table) Missing(ctx context.Context, s Step, rowsOfStep, after int64,
	brought func(seq int64) bool,
) (missing int64, err error) {
	if t.table.Columns.Sequence == "" {
		return rowsOfStep - s.Streamed, nil
	}
	rows, err := t.pool.Query(ctx, t.sql(numbers), text(s.From.Next()), text(s.To.Next()), s.To.String(),
		lateTexts(s), after,
		t.table.Key())
	if err != nil {
		return 0, fmt.Errorf("compare the rows from snapshot %s to %s: %w", s.From, s.To, err)
	}
	var seq int64
	_, err = pgx.ForEachRow(rows, []any{&seq}, func() error {
		if !brought(seq) {
			missing++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("compare the rows from snapshot %s to %s: %w", s.From, s.To, err)
	}
	return missing, nil
}

func lateTexts(s Step) []string {
	late := []string{}
	for _, xid := range s.late() {
		late = append(late, text(xid))
	}
	return late
}

// Count returns the number of the step's rows in the table.
func (t *Table) Count(ctx context.Context, s Step) (int64, error) {
	var rows int64
	err := t.pool.QueryRow(ctx, t.sql(count), text(s.From.Next()), text(s.To.Next()), s.To.String(),
		lateTexts(s)).Scan(&rows)
	if err != nil {
		return 0, fmt.Errorf("count the rows from snapshot %s to %s: %w", s.From, s.To, err)
	}
	return rows, nil
}

func (t *Table) sql(statement string) string {
	c := t.table.Columns
	seq := "NULL::bigint"
	if c.Sequence != "" {
		seq = outboxtable.Quote(c.Sequence)
	}
	return strings.NewReplacer("{table}", t.table.From(), "{xid}", outboxtable.Quote(c.XID), "{seq}", seq,
		"{later_writer}", outboxtable.LaterWriterSQL("", c.XID),
		"{writer}", outboxtable.WriterSQL("xmin")+"::text::xid8",
		"{id_text}", outboxtable.TextSQL("", c.ID),
		"{filter}", t.table.FilterSQL(""), "{filter_e}", t.table.FilterSQL("e"),
		"{accounted}", outboxtable.AccountedSQL(t.table, "e.tableoid", "$6")).Replace(statement)
}

func text(xid uint64) string { return strconv.FormatUint(xid, 10) }
