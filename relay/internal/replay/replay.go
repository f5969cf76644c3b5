// Package replay stores requests to resend delivered events, and selects those events from the
// outbox table.
package replay

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// State is the state of a replay.
type State string

// The states.
const (
	Running State = "running" // the relay that holds the slot sends its events
	Stopped State = "stopped" // by an operator, who may resume it
	Done    State = "done"
)

// Replay is a request to send delivered events again.
type Replay struct {
	ID          int64
	Table       string // schema.name of the outbox table
	Selection   Selection
	Horizon     string // pg_snapshot: only events that are visible in it
	LastSeq     int64  // no event after it
	Rate        int    // events a second
	Events      int64  // number of selected events
	PassedSeq   int64  // events up to here are done
	Sent        int64
	Refused     int64
	LastRefusal string // the event and the reason
	State       State
	// Deferrals are those at the time of the request: events that waited then are not sent.
	Deferrals deferral.Marks
}

// columns are those of Replay, in its order.
const columns = `r.id, r.outbox_table, r.seqs, r.since, r.until, r.aggregate_type, r.aggregate_id, r.horizon::text,
	r.last_seq, r.rate,
	r.events,
	r.passed_seq, r.sent, r.refused, r.last_refusal, r.state, r.deferrals::text`

func scan(row pgx.Row) (*Replay, error) {
	var r Replay
	var deferrals *string
	s := &r.Selection
	err := row.Scan(&r.ID, &r.Table, &s.Seqs, &s.Since, &s.Until, &s.AggregateType, &s.AggregateID, &r.Horizon,
		&r.LastSeq, &r.Rate, &r.Events, &r.PassedSeq, &r.Sent, &r.Refused, &r.LastRefusal, &r.State, &deferrals)
	if err != nil {
		return nil, err
	}
	r.Deferrals, err = deferral.ParseMarks(deferrals)
	return &r, err
}

// Selection selects the events that meet every condition which is not nil.
type Selection struct {
	Seqs                       []int64
	Since, Until               *time.Time // Until is exclusive
	AggregateType, AggregateID *string
}

func (s Selection) args() []any {
	return []any{s.Seqs, s.Since, s.Until, s.AggregateType, s.AggregateID}
}

// selected is a condition on a row e of the outbox table. Its arguments are those of a Selection,
// $1 to $5. An aggregate is selected by its text in the messages, and also by the one that an
// operator writes in SQL: without the padding of char(n).
const selected = `($1::bigint[] IS NULL OR e.{seq} = ANY ($1::bigint[]))
	AND ($2::timestamptz IS NULL OR {created_at} >= $2) AND ($3::timestamptz IS NULL OR {created_at} < $3)
	AND ($4::text IS NULL OR $4 IN ({aggregate_type}, {written_aggregate_type}))
	AND ($5::text IS NULL OR $5 IN ({aggregate_id}, {written_aggregate_id}))`

// parked is true for a row e whose event is parked. $6 is schema.name of the outbox table. An older
// relay parked events under their id alone.
const parked = `(EXISTS (
	SELECT FROM outbox_dead_letters d
	WHERE d.outbox_table = $6 AND d.row_seq = {common_seq} AND d.row_event_id = {event_id}
		AND d.state IN ('parked', 'redriving')
) OR EXISTS (
	SELECT FROM outbox_dead_letters d
	WHERE d.outbox_table = $6 AND d.event_id = {event_id} AND d.row_key IS NULL
		AND d.state IN ('parked', 'redriving')))`

// closed is true for a row e whose dead letter is discarded or redriven. A relay of the slot in $8
// parked the event, so the event is accounted for, even while the horizon is behind an earlier
// event that is not. event_id is compared for the sake of the index.
const closed = `EXISTS (
	SELECT FROM outbox_dead_letters d
	WHERE d.outbox_table = $6 AND d.event_id = {event_id} AND d.slot_name = $8
		AND d.row_seq = {common_seq} AND d.row_event_id = {event_id} AND d.state IN ('discarded', 'redriven'))`

// fate is the fate of a row e: 'parked', 'delivered' if the horizon in $7 shows it, 'closed', or
// 'undelivered'.
const fate = `CASE WHEN {parked} THEN 'parked'
	WHEN pg_visible_in_snapshot(e.{xid}, $7::pg_snapshot) THEN 'delivered'
	WHEN {closed} THEN 'closed'
	ELSE 'undelivered' END`

// statement fills these conditions, and the names of an outbox table and its columns, into sql.
func statement(table outboxtable.Table, sql string) string {
	c, text := table.Columns, outboxtable.Texts(table, "e.")
	createdAt := "NULL::timestamptz"
	if c.CreatedAt != "" {
		createdAt = "e." + outboxtable.Quote(c.CreatedAt)
	}
	names := strings.NewReplacer("{table}", table.From(), "{id}", outboxtable.Quote(c.ID),
		"{common_seq}", table.CommonSeqSQL("e."), "{seq}", outboxtable.Quote(c.Sequence),
		"{xid}", outboxtable.Quote(c.XID), "{event_id}", table.EventIDSQL("e."),
		"{created_at}", createdAt,
		"{filter}", table.FilterSQL("e"),
		"{event_type}", text.EventType, "{aggregate_type}", text.AggregateType, "{aggregate_id}", text.AggregateID,
		"{written_aggregate_type}", written(c.AggregateType), "{written_aggregate_id}", written(c.AggregateID))
	sql = strings.ReplaceAll(sql, "{fate}", fate)
	sql = strings.NewReplacer("{selected}", selected, "{parked}", parked, "{closed}", closed).Replace(sql)
	return names.Replace(sql)
}

// written is an expression for the text of a column of row e as a cast to text writes it. It is
// empty if the table does not have the column.
func written(column string) string {
	if column == "" {
		return "''"
	}
	return "coalesce(e." + outboxtable.Quote(column) + "::text, '')"
}
