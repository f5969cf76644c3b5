package deferral

import (
	"math"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// endless is the from_seq of a deferral for which every row that is visible in known is done.
const endless = math.MaxInt64

// fromSeqOf returns the from_seq of a deferral whose first event has this seq. It is never endless,
// with which that event would count as done.
func fromSeqOf(seq int64) int64 { return min(seq, endless-1) }

// NotDoneSQL is a condition on a row of the outbox table and a row of outbox_deferrals: the first
// is not done for the second. row and deferral are prefixes of their columns, such as "e.". An xid
// that is NULL is not done.
func NotDoneSQL(table outboxtable.Table, row, deferral string) string {
	return strings.NewReplacer("{xid}", row+outboxtable.Quote(table.Columns.XID),
		"{seq}", table.CommonSeqSQL(row), "{deferral}", deferral).Replace(
		`((pg_visible_in_snapshot({xid}, {deferral}known) AND {seq} < {deferral}from_seq) IS NOT TRUE)`)
}

// WaitsSQL is a condition on a row of the outbox table: it is not done for a deferral of any slot
// that is in use. A slot whose checkpoint an operator deleted is in use while its guard is there.
// tableName is a placeholder for schema.name of the outbox table. A table without xid or seq has no
// deferrals.
func WaitsSQL(table outboxtable.Table, row, tableName string) string {
	if !table.IsRepairable() {
		return "false"
	}
	// two, so that each is an index scan
	waits := `EXISTS (SELECT FROM outbox_deferrals waits WHERE waits.outbox_table = ` + tableName +
		` AND waits.state = 'deferred' AND (` + NotDoneSQL(table, row, "waits.") +
		` OR waits.system_identifier <> ` + outboxtable.SystemSQL + `)
		AND EXISTS (SELECT FROM relay_checkpoints used
			WHERE used.slot_name IN (waits.slot_name, ` + outboxtable.GuardSQL("waits.slot_name") + `)) AND `
	return `(` + waits + `waits.aggregate_id = '') OR ` + waits + isAggregateSQL(table, row, "waits.") + `))`
}

// isAggregateSQL is a condition on a row of the outbox table and a row of outbox_deferrals: the
// second is that of the first one's aggregate.
func isAggregateSQL(table outboxtable.Table, row, deferral string) string {
	text := outboxtable.Texts(table, row)
	return deferral + "aggregate_id <> '' AND " + deferral + "aggregate_id = " + text.AggregateID + " AND " +
		deferral + "aggregate_type = " + typeSQL(table, text.AggregateType)
}

// typeSQL is an expression for what [Place.storedType] returns. aggregateType is one for the type.
func typeSQL(table outboxtable.Table, aggregateType string) string {
	if table.Source == nil {
		return aggregateType
	}
	return "(" + outboxtable.QuoteLiteral(table.Source.Table+ofTable) + " || " + aggregateType + ")"
}

// mark is the pair that tells which rows are done.
type mark struct {
	known   pgsnapshot.Snapshot
	fromSeq int64
}

// isCoveredBy reports whether a snapshot shows everything that known shows, so that no row that is
// done by m is not done by it.
func (m mark) isCoveredBy(snapshot string) bool {
	s, err := pgsnapshot.Parse(snapshot)
	return err == nil && s.Covers(m.known)
}

// done is [NotDoneSQL] in Go, negated.
func (m mark) done(xid uint64, seq int64) bool { return m.known.Visible(xid) && seq < m.fromSeq }
