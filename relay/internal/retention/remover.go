package retention

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Remover removes delivered rows that are older than an age, for the relay that holds the slot.
type Remover struct {
	pool  *pgxpool.Pool
	fence slot.Fence
	key   string // of the outbox table in the relay's own tables
	table string // schema.name of the outbox table
	age   string // as an interval
	rows  string // statement
}

// NewRemover returns a Remover of rows that are older than age. The table needs a column with the
// time of the event.
func NewRemover(pool *pgxpool.Pool, fence slot.Fence, table outboxtable.Table, age time.Duration) *Remover {
	return &Remover{
		pool:  pool,
		fence: fence,
		key:   table.Key(),
		table: table.String(),
		age:   fmt.Sprintf("%d microseconds", age.Microseconds()),
		rows:  removeRows(table),
	}
}

// overdue is how much older than age a row is before the log names the slot that keeps it. The
// horizon of every slot lags some seconds behind delivery, and a row of a long transaction is old
// when it is committed.
const overdue = "1 minute"

// Batch is the result of one statement.
type Batch struct {
	Removed int64
	Last    int64    // seq of the last row that is delivered and old enough
	Full    bool     // Last is the last row that was read: there may be more
	Kept    []string // slots that keep overdue rows, each with the reason
}

// removeRows reads the next rows in the order of seq, by the index on it. It removes those that are
// old enough and that every slot of the table has delivered. One statement sees fence, horizons and
// rows in one snapshot.
//
// An unknown horizon and an unknown xid count as not delivered. So do the rows of an attached
// partition until they are accounted for: the log does not contain them, whatever their xids say.
// A row that waits in the table for any slot stays. So does a row that the row filter of the
// publication excludes, or that a former one may have excluded: no relay has delivered it.
//
// The slot's own row is among the table's, so the list of slots is never empty. The row of a parked
// event stays until an operator has decided about it, because a dead letter does not contain a
// payload that is too long.
func removeRows(table outboxtable.Table) string {
	return namesOf(table).Replace(`
		WITH registered AS (` + registered + `), former AS MATERIALIZED ({former}),
		batch AS MATERIALIZED (` + batch + `), due AS MATERIALIZED (` + due + `), removed AS (` + removed + `)
		SELECT (SELECT count(*) FROM removed), coalesce(max(due.seq), $6::bigint),
		       coalesce(max(due.seq) = (SELECT max(seq) FROM batch) AND (SELECT count(*)
			FROM batch) = $7, false), ARRAY(` + kept + `)
		FROM due`)
}

// The parts of the statement.
const (
	// registered are the slots of the table, each with the reason for which it keeps every row.
	registered = `
		SELECT c.slot_name, c.horizon, pg_snapshot_xmin(c.horizon) AS ended, CASE
			WHEN c.system_identifier <> (SELECT system_identifier::text FROM pg_control_system())
				THEN 'belongs to another cluster'
			WHEN c.recover_from IS NOT NULL THEN 'publishes from the table'
			END AS obstacle
		FROM relay_checkpoints c WHERE c.outbox_table = $4 AND {not_guard}`

	// batch are the rows that are read.
	batch = `
		SELECT e.{seq} AS seq, e.{xid} AS xid, {later_writer} AS later_writer, {accounted} AS accounted,
			{waits} AS waits,
			e.{created_at} < now() - $5::interval AS old,
			e.{created_at} < now() - $5::interval - interval '{overdue}' AS overdue
		FROM {table} e WHERE e.{seq} > $6::bigint AND {filter} AND {streamed} ORDER BY e.{seq} LIMIT $7`

	// due are the rows of the batch that every slot has delivered.
	due = `
		SELECT b.seq FROM batch b
		WHERE EXISTS (SELECT FROM relay_checkpoints c WHERE c.outbox_table = $4 AND {fence})
		  AND b.old AND b.accounted AND NOT b.waits AND NOT EXISTS (
			SELECT FROM registered r
			WHERE r.obstacle IS NOT NULL OR (pg_visible_in_snapshot(b.xid, r.horizon)
				AND b.later_writer < r.ended) IS NOT TRUE)`

	// removed checks each row itself: Postgres evaluates only the conditions on the table again if
	// another transaction has changed the row meanwhile.
	removed = `
		DELETE FROM {table} e
		WHERE e.{seq} > $6::bigint AND e.{seq} <= (SELECT max(seq) FROM due)
		  AND e.{created_at} < now() - $5::interval AND {accounted} AND NOT {waits} AND {filter} AND {streamed}
		  AND NOT EXISTS (
			SELECT FROM registered r
			WHERE r.obstacle IS NOT NULL OR (pg_visible_in_snapshot(e.{xid}, r.horizon)
				AND {later_writer} < r.ended) IS NOT TRUE)
		  AND NOT EXISTS (
			SELECT FROM outbox_dead_letters d
			WHERE d.outbox_table = $4 AND d.row_seq = {common_seq} AND d.row_event_id = {event_id}
				AND d.state IN ('parked', 'redriving'))
		  AND NOT EXISTS ( -- parked by an older relay, under its id alone
			SELECT FROM outbox_dead_letters d
			WHERE d.outbox_table = $4 AND d.event_id = {event_id} AND d.row_key IS NULL
				AND d.state IN ('parked', 'redriving'))
		RETURNING e.{seq}`

	// kept names the slots that keep rows of the batch that are overdue, each with its reason.
	kept = `
		SELECT pg_catalog.format('%s%s %s', r.slot_name, CASE WHEN r.slot_name = $1 THEN ' (this relay''s)' END,
		              coalesce(r.obstacle, 'has not delivered them'))
		FROM registered r
		WHERE EXISTS (
			SELECT FROM batch b
			WHERE b.overdue AND NOT b.waits AND (r.obstacle IS NOT NULL OR NOT b.accounted
				OR (pg_visible_in_snapshot(b.xid, r.horizon) AND b.later_writer < r.ended) IS NOT TRUE))
		UNION ALL
		SELECT DISTINCT pg_catalog.format('%s, whose events for %s wait in the table', d.slot_name, d.destination)
		FROM outbox_deferrals d
		WHERE d.outbox_table = $4 AND d.state = 'deferred'
		  AND EXISTS (SELECT FROM batch b WHERE b.overdue AND b.waits)
		ORDER BY 1`
)

// namesOf replaces the names in braces by the expressions that the table needs.
func namesOf(table outboxtable.Table) *strings.Replacer {
	seq, xid := outboxtable.Quote(table.Columns.Sequence), outboxtable.Quote(table.Columns.XID)
	return strings.NewReplacer(
		"{table}", table.From(),
		"{common_seq}", table.CommonSeqSQL("e."),
		"{seq}", seq,
		"{xid}", xid,
		"{created_at}", outboxtable.Quote(table.Columns.CreatedAt),
		"{event_id}", table.EventIDSQL("e."),
		"{accounted}", outboxtable.AccountedSQL(table, "e.tableoid", "$4"),
		"{waits}", deferral.WaitsSQL(table, "e.", "$4"),
		"{filter}", table.FilterSQL("e"),
		"{former}", outboxtable.FormerSQL("registered"),
		"{streamed}", "NOT EXISTS (SELECT FROM former f WHERE pg_visible_in_snapshot(e."+xid+", f.horizon) "+
			"OR pg_visible_in_snapshot("+outboxtable.WriterSQL("e.xmin")+"::text::xid8, f.horizon))",
		"{later_writer}", outboxtable.LaterWriterSQL("e.", table.Columns.XID),
		"{not_guard}", outboxtable.NotGuardSQL,
		"{fence}", slot.FenceSQL,
		"{overdue}", overdue,
	)
}

// Rows reads limit rows of the outbox table whose seq is greater than after.
func (r *Remover) Rows(ctx context.Context, after int64, limit int) (Batch, error) {
	var b Batch
	err := r.pool.QueryRow(
		ctx,
		r.rows,
		r.fence.Args(r.key, r.age, after, limit)...).Scan(
		&b.Removed,
		&b.Last,
		&b.Full,
		&b.Kept,
	)
	if err != nil {
		return Batch{}, fmt.Errorf("remove delivered rows of %s: %w", r.table, err)
	}
	return b, nil
}

// removeDeadLetters keeps the closed dead letters of a slot while events of it wait in the table: a
// pass does not send a row that has a dead letter, whether or not the row counts as done.
const removeDeadLetters = `
	DELETE FROM outbox_dead_letters
	WHERE position = ANY (ARRAY(
		SELECT d.position FROM outbox_dead_letters d, relay_checkpoints c
		WHERE ` + slot.FenceSQL + ` AND d.outbox_table = $4
		  AND d.state IN ('redriven', 'discarded') AND d.updated_at < now() - $5::interval
		  AND NOT EXISTS (
			SELECT FROM outbox_deferrals f
			WHERE f.outbox_table = d.outbox_table AND f.slot_name = d.slot_name AND f.state = 'deferred')
		ORDER BY d.position LIMIT $6))`

// DeadLetters removes at most limit closed dead letters of the table. Parked ones stay, however
// old, and so do those of a slot whose events wait in the table.
func (r *Remover) DeadLetters(ctx context.Context, limit int) (int64, error) {
	tag, err := r.pool.Exec(ctx, removeDeadLetters, r.fence.Args(r.key, r.age, limit)...)
	if err != nil {
		return 0, fmt.Errorf("remove closed dead letters of %s: %w", r.table, err)
	}
	return tag.RowsAffected(), nil
}
