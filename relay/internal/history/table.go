package history

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// counted bounds the number of waiting rows to count.
const counted = 1000

// columns are the table's columns by name.
type columns map[string]column

type column struct {
	kind     string // type in SQL, without its length: a cast to it truncates nothing
	declared string // type in SQL, with its length
	indexed  bool
}

// readColumns reads the table's columns. Only a column that an index begins with is searched or
// ordered by.
func readColumns(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) (columns, error) {
	rows, err := pool.Query(ctx, `
		SELECT a.attname, format_type(a.atttypid, -1), format_type(a.atttypid, a.atttypmod), EXISTS (
			SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
			WHERE i.indrelid = a.attrelid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL
			  AND m.amname = 'btree')
		FROM pg_attribute a
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`, table.Identifier())
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", table, err)
	}
	found := columns{}
	var name string
	var c column
	_, err = pgx.ForEachRow(rows, []any{&name, &c.kind, &c.declared, &c.indexed}, func() error {
		found[name] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", table, err)
	}
	return found, nil
}

// delivered returns the snapshot whose rows the checkpoint counts as delivered, or the empty
// string.
func delivered(row *checkpoint.Row) string {
	switch {
	case row == nil:
		return ""
	case row.Recovery != nil:
		return row.Recovery.From
	}
	return row.Horizon
}

// streamedID returns the text of an id in the stream, which the dead letters and the relay's memory
// contain: a UUID in lower case, a char(n) with its padding. It returns an id that does not fit the
// column's type unchanged.
func streamedID(ctx context.Context, pool *pgxpool.Pool, c column, id string) (string, error) {
	streamed := id
	err := pool.QueryRow(ctx, `
		SELECT pg_catalog.format('%s', declared)
		FROM (SELECT ($1::text)::`+c.declared+`, ($1::text)::`+c.kind+`) AS written (declared, whole)
		WHERE declared::text = whole::text`, id).Scan(&streamed)
	if isNoID(err) {
		return id, nil
	}
	if err != nil {
		return "", fmt.Errorf("read event id %s as %s: %w", id, c.declared, err)
	}
	return streamed, nil
}

// isNoID reports whether no row has the id, or can have it because it does not fit the column's
// type.
func isNoID(err error) bool {
	var refused *pgconn.PgError
	return errors.Is(err, pgx.ErrNoRows) || errors.As(err, &refused) &&
		(pgerrcode.IsDataException(refused.Code) || refused.Code == pgerrcode.CheckViolation)
}

// query returns a SELECT of the table's rows, which [scan] converts to events. rest begins with a
// further condition or with the order. $1 is the snapshot of delivered rows, or NULL.
func query(table outboxtable.Table, rest string) string {
	c, text := table.Columns, outboxtable.Texts(table, "")
	seq, created, visible := "NULL::bigint", "''", "NULL::boolean"
	if c.Sequence != "" {
		seq = outboxtable.Quote(c.Sequence) + "::bigint"
	}
	if c.CreatedAt != "" {
		created = "coalesce(pg_catalog.to_json(" + outboxtable.Quote(c.CreatedAt) + ")#>>'{}', '')"
	}
	if c.XID != "" {
		visible = "pg_visible_in_snapshot(" + outboxtable.Quote(c.XID) + ", $1::pg_snapshot)"
	}
	names := strings.NewReplacer("{seq}", outboxtable.Quote(c.Sequence), "{id}", outboxtable.Quote(c.ID))
	return names.Replace("SELECT " + strings.Join([]string{
		text.ID, text.EventType, text.AggregateType, text.AggregateID, seq, created, visible,
		"$1::pg_snapshot IS NULL", outboxtable.ExtraSQL(table, ""),
	}, ", ") + " FROM " + table.From() + " WHERE " + table.FilterSQL("") + " " + rest)
}

// scan reads a row of query. The state follows from the checkpoint alone.
func scan(row pgx.CollectableRow) (Event, error) {
	var e Event
	var visible *bool
	var nothing bool
	if err := row.Scan(&e.ID, &e.Type, &e.AggregateType, &e.AggregateID, &e.Sequence, &e.CreatedAt, &visible,
		&nothing, &e.extra); err != nil {
		return e, err
	}
	if e.ID == "" && e.Sequence != nil {
		e.ID = route.EventID(&outbox.Envelope{Sequence: fmt.Sprint(*e.Sequence)})
	}
	switch {
	case visible != nil && *visible:
		e.State = Done
		e.Reason = "the checkpoint counts it as delivered: it was delivered or parked, RELAY_ROUTES dropped " +
			"it, or RELAY_START excluded it"
	case visible != nil:
		e.State, e.Reason = Waiting, "it is committed, and the checkpoint does not count it as delivered yet"
	case nothing:
		e.State, e.Reason = Unknown, "there is no checkpoint yet that says which events are delivered"
	default:
		e.State = Unknown
		e.Reason = "the table has no transaction ids (RELAY_COLUMN_XID), so the checkpoint does not show whether " +
			"the event is delivered"
	}
	return e, nil
}

// group returns the message group of an event of a table.
func (e *Event) group(table outboxtable.Table) string {
	envelope := outbox.Envelope{
		ID: e.ID, AggregateType: e.AggregateType, AggregateID: e.AggregateID, Extra: e.extra, Source: table.Source,
	}
	key := table.OrderKey
	if len(e.extra) == 0 { // no row of the table has it
		key = nil
	}
	return route.Group(&envelope, key)
}

// backlog counts the waiting rows by the index on the transaction ids.
func backlog(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table, snapshot string) (*Backlog, error) {
	created := "NULL"
	if table.Columns.CreatedAt != "" {
		created = "pg_catalog.to_json(" + outboxtable.Quote(table.Columns.CreatedAt) + ")#>>'{}'"
	}
	waiting := strings.NewReplacer("{xid}", outboxtable.Quote(table.Columns.XID), "{created}", created, "{table}",
		table.From(), "{filter}", table.FilterSQL("")).Replace(
		`
		SELECT count(*), coalesce(min(at), '') FROM (
			(SELECT {created} AS at FROM {table}
			 WHERE {xid} >= pg_snapshot_xmax($1::pg_snapshot) AND {filter} ORDER BY {xid} LIMIT $2)
			UNION ALL
			(SELECT {created} FROM {table}
			 WHERE {xid} = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot))) AND {filter} LIMIT $2)) waiting`,
	)
	var b Backlog
	if err := pool.QueryRow(ctx, waiting, snapshot, counted+1).Scan(&b.Events, &b.OldestAt); err != nil {
		return nil, fmt.Errorf("count the waiting rows of %s: %w", table, err)
	}
	if b.Events > counted {
		b.Events, b.More = counted, true
	}
	return &b, nil
}
