package recovery

import (
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// The column xid alone does not say whether a row was delivered. A producer, a restore or a copy
// may write any transaction id there, including one that the horizon shows. The server knows the
// transaction that wrote the row (xmin). Both have to agree.
//
// A row that was written below a savepoint, or that was changed later, has an xmin other than its
// xid. It counts as delivered once every transaction up to xmin has ended. So the row may be
// published again, and is never missed.
//
// Rows of a relation that the slot has not accounted for are judged by xid alone. The rows of an
// attached partition are published separately. A table that replaced another one is mostly a copy
// of delivered rows.
const (
	undelivered = `
		NOT (pg_visible_in_snapshot({xid}, {from}) AND ({later_writer} < pg_snapshot_xmin({from}) OR NOT {accounted}))`

	// written selects the rows that existed at {to}. An xid above the row's writer is not genuine,
	// because a transaction has a lower id than its savepoints.
	written = `
		(pg_visible_in_snapshot({xid}, {to})
		 OR {writer} < {xid} AND pg_visible_in_snapshot({writer}, {to}) AND {accounted})`

	// possible selects a superset of the undelivered rows. Its first part uses the index on xid. No
	// index covers the writers, so its second part reads the whole table.
	possible = `
		SELECT {seq} AS seq FROM {table} WHERE {xid} >= pg_snapshot_xmin({from})
		UNION ALL
		SELECT {seq} FROM {table}
		WHERE {xid} < pg_snapshot_xmin({from}) AND {later_writer} >= pg_snapshot_xmin({from}) AND {accounted}`
)

// placeholders are the numbers of a statement's parameters.
type placeholders struct{ from, to, slot int }

// selection inserts names and placeholders into a condition or a statement, such as those above.
func selection(table outboxtable.Table, condition string, at placeholders) string {
	return sql(table, strings.NewReplacer(
		"{from}", fmt.Sprintf("$%d::pg_snapshot", at.from),
		"{to}", fmt.Sprintf("$%d::pg_snapshot", at.to),
		"{later_writer}", outboxtable.LaterWriterSQL("", table.Columns.XID),
		"{writer}", outboxtable.WriterSQL("xmin")+"::text::xid8",
		"{accounted}", outboxtable.AccountedBySQL(table, "tableoid", fmt.Sprintf("$%d", at.slot)),
	).Replace(condition))
}

// condition selects the rows of r. Its parameters begin at the given number.
func (d *Reader) condition(r checkpoint.Recovery, parameter int) (condition string, args []any) {
	at := placeholders{from: parameter, to: parameter + 1, slot: parameter + 2}
	condition, args = selection(d.table, undelivered+" AND "+written, at), []any{r.From, r.To, d.slot}
	if r.Since != "" {
		createdAt := outboxtable.Quote(d.table.Columns.CreatedAt)
		condition += fmt.Sprintf(" AND %s >= $%d::timestamptz", createdAt, parameter+3)
		args = append(args, r.Since)
	}
	return condition, args
}
