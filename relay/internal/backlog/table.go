package backlog

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// selection selects the waiting rows: rows that are not visible in delivered, that were created at
// or after since (unless it is empty), and whose seq is above passed.
type selection struct {
	delivered string // pg_snapshot
	since     string // timestamptz
	passed    int64
}

// waiting describes the oldest waiting rows.
type waiting struct {
	exists bool
	xid    string // of the oldest row
	hasAge bool   // the table has a time for each row
	age    time.Duration
	since  time.Time // when a read first found it
}

// byXID reads two ranges of the index on xid, at most a hundred rows each. A single range from the
// snapshot's xmin could be long, because a transaction that is open for days holds xmin back.
const byXID = `
	WITH waiting AS (
		(SELECT {xid} AS xid, {age} AS age FROM {table}
		 WHERE {xid} >= pg_snapshot_xmax($1::pg_snapshot) AND {condition} ORDER BY {xid} LIMIT 100)
		UNION ALL
		(SELECT {xid}, {age} FROM {table}
		 WHERE {xid} = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot))) AND {condition} ORDER BY {xid} LIMIT 100)
	)`

// bySeq selects the waiting rows of a recovery that has started, which proceeds by seq.
const bySeq = `
	WITH waiting AS (
		SELECT {xid} AS xid, {age} AS age FROM {table}
		WHERE {seq} > $2::bigint AND NOT pg_visible_in_snapshot({xid}, $1::pg_snapshot) AND {condition}
		ORDER BY {seq} LIMIT 100
	)`

const oldest = `
	SELECT coalesce((pg_catalog.array_agg(xid::text ORDER BY xid))[1], ''), max(age) FROM waiting`

// find finds the oldest waiting rows.
func find(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table, s selection) (oldest waiting, err error) {
	for _, one := range table.Each() {
		found, err := findIn(ctx, pool, one, s)
		if err != nil {
			return waiting{}, err
		}
		if found.exists && (!oldest.exists || found.hasAge && found.age > oldest.age) {
			oldest = found
		}
	}
	return oldest, nil
}

// findIn is find for one table.
func findIn(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table, s selection) (waiting, error) {
	timed, err := hasTime(ctx, pool, table)
	if err != nil {
		return waiting{}, err
	}
	query, args := byXID, []any{s.delivered}
	if s.passed > 0 {
		query, args = bySeq, append(args, table.Source.Own(s.passed))
	}
	condition, age := table.FilterSQL(""), "NULL::double precision"
	if s.since != "" {
		args = append(args, s.since)
		condition = fmt.Sprintf("{created_at} >= $%d::timestamptz AND %s", len(args), condition)
	}
	if timed {
		age = "extract(epoch FROM clock_timestamp() - {created_at}::timestamptz)::double precision"
	}
	query = strings.NewReplacer("{condition}", condition, "{age}", age).Replace(query) + oldest
	var found waiting
	var seconds *float64
	if err := pool.QueryRow(ctx, fill(table, query), args...).Scan(&found.xid, &seconds); err != nil {
		return waiting{}, fmt.Errorf("look for undelivered events in %s.%s: %w", table.Schema, table.Name, err)
	}
	found.exists = found.xid != ""
	if seconds != nil {
		found.hasAge, found.age = true, time.Duration(*seconds*float64(time.Second))
	}
	return found, nil
}

// hasTime reports whether the column for the event's time has a time type. The metric of the age
// must not fail on a column of another type.
func hasTime(ctx context.Context, pool *pgxpool.Pool, table outboxtable.Table) (bool, error) {
	var timed bool
	err := pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped
			AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype))`,
		table.Identifier(), table.Columns.CreatedAt).Scan(&timed)
	if err != nil {
		return false, fmt.Errorf("look at column %s of %s.%s: %w", table.Columns.CreatedAt, table.Schema, table.Name,
			err)
	}
	return timed, nil
}

func fill(table outboxtable.Table, query string) string {
	return strings.NewReplacer(
		"{table}", table.From(),
		"{seq}", outboxtable.Quote(table.Columns.Sequence),
		"{xid}", outboxtable.Quote(table.Columns.XID),
		"{created_at}", outboxtable.Quote(table.Columns.CreatedAt),
	).Replace(query)
}
