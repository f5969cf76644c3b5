package audit

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
)

// Table counts rows of the outbox table.
type Table struct {
	pool  *pgxpool.Pool
	table pgoutput.Table
}

// NewTable returns the outbox table.
func NewTable(pool *pgxpool.Pool, table pgoutput.Table) *Table {
	return &Table{pool: pool, table: table}
}

// Indexed reports whether ranges of rows can be found by their xid without reading the whole table.
func (t *Table) Indexed(ctx context.Context) (bool, error) {
	var indexed bool
	err := t.pool.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
			JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
			WHERE i.indrelid = to_regclass($1) AND a.attname = $2 AND i.indisvalid AND i.indpred IS NULL)`,
		t.name(), t.table.Columns.XID).Scan(&indexed)
	if err != nil {
		return false, fmt.Errorf("look for an index on %s: %w", t.table.Columns.XID, err)
	}
	return indexed, nil
}

// Baseline is where a [Ledger] begins.
type Baseline struct {
	XID uint64
	// Foreign says that a row of the table has this xid, and that the cluster has not given it out: the row comes from
	// another one.
	Foreign bool
}

// baseline takes a new xid. What a statement sees and its own snapshot does not is no work of the transaction that the row
// names.
const baseline = `
	SELECT pg_current_xact_id()::text, coalesce((
		SELECT {xid} FROM {table} WHERE {xid} >= pg_snapshot_xmax(pg_current_snapshot()) ORDER BY {xid} DESC LIMIT 1)::text, '0')`

// Baseline returns an xid above those of every transaction that has begun and of every row that is there.
func (t *Table) Baseline(ctx context.Context) (Baseline, error) {
	var ownText, foreignText string
	if err := t.pool.QueryRow(ctx, t.sql(baseline)).Scan(&ownText, &foreignText); err != nil {
		return Baseline{}, fmt.Errorf("begin the audit: %w", err)
	}
	own, err := ParseXID(ownText)
	if err != nil {
		return Baseline{}, fmt.Errorf("begin the audit: %w", err)
	}
	foreign, err := ParseXID(foreignText)
	if err != nil {
		return Baseline{}, fmt.Errorf("begin the audit: %w", err)
	}
	return Baseline{XID: max(own, foreign), Foreign: foreign > own}, nil
}

// count asks for two short ranges of the index on xid. One from the snapshot's xmin on could be long: a prepared
// transaction holds that back for days.
const count = `
	SELECT (SELECT count(*) FROM {table}
	        WHERE {xid} >= $1::text::xid8 AND {xid} < $2::text::xid8 AND pg_visible_in_snapshot({xid}, $3::text::pg_snapshot))
	     + (SELECT count(*) FROM {table} WHERE {xid} = ANY ($4::text[]::xid8[]))`

// Count returns how many rows of the step stand in the table.
func (t *Table) Count(ctx context.Context, s Step) (int64, error) {
	late := []string{}
	for _, xid := range s.late() {
		late = append(late, text(xid))
	}
	var rows int64
	err := t.pool.QueryRow(ctx, t.sql(count), text(s.From.xmax), text(s.To.xmax), s.To.text, late).Scan(&rows)
	if err != nil {
		return 0, fmt.Errorf("count the rows from snapshot %s to %s: %w", s.From, s.To, err)
	}
	return rows, nil
}

func (t *Table) sql(statement string) string {
	return strings.NewReplacer("{table}", t.name(), "{xid}", pgx.Identifier{t.table.Columns.XID}.Sanitize()).Replace(statement)
}

func (t *Table) name() string { return pgx.Identifier{t.table.Schema, t.table.Name}.Sanitize() }

func text(xid uint64) string { return strconv.FormatUint(xid, 10) }
