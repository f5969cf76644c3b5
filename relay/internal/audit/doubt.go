package audit

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// rowsOf lists the rows that [count] counts. It also lists rows whose xid is not that of the
// transaction that wrote them, if that transaction belongs to the step.
const rowsOf = `
	SELECT {xid}::text, coalesce({seq}::text, ''), {id_text} FROM {table}
	WHERE {filter} AND (({xid} >= $1::text::xid8 AND {xid} < $2::text::xid8
			AND pg_visible_in_snapshot({xid}, $3::text::pg_snapshot))
	   OR {xid} = ANY ($4::text[]::xid8[])
	   OR (pg_visible_in_snapshot({xid}, $5::text::pg_snapshot)
	       AND {later_writer} >= pg_snapshot_xmin($5::text::pg_snapshot))
	   OR (NOT pg_visible_in_snapshot({xid}, $3::text::pg_snapshot) AND {writer} < {xid}
	       AND pg_visible_in_snapshot({writer}, $3::text::pg_snapshot)))`

// Doubt returns why the table does not prove that the stream brought every row of a step, or the
// empty string if it does.
//
// The proof compares rows in both directions. A row of the table that was not read was not
// streamed. A row that was read and no longer exists shows that recent rows are deleted. Then a row
// that was not streamed may have been deleted too. A table without any delivered row may delete
// every row at once.
func (t *Table) Doubt(ctx context.Context, s Step, read *Recent) (string, error) {
	return doubt(ctx, []*Table{t}, s, read)
}

func doubt(ctx context.Context, tables []*Table, s Step, read *Recent) (string, error) {
	unseen, complete := read.of(s)
	if !complete {
		return fmt.Sprintf("more than %d rows were written since the last horizon", maxRecent), nil
	}
	streamed := len(unseen)
	missing := int64(0)
	for _, t := range tables {
		more, err := t.match(ctx, s, read, unseen)
		if err != nil {
			return "", err
		}
		missing += more
	}
	switch {
	case missing > 0:
		return fmt.Sprintf("%d rows of the table were not streamed", missing), nil
	case len(unseen) > 0:
		return fmt.Sprintf("%d rows that were streamed are no longer in the table", len(unseen)), nil
	case streamed > 0:
		return "", nil
	}
	keeps, err := agreedFrom(ctx, tables, s.From)
	if err == nil && !keeps {
		return "the table has no row that was delivered before", nil
	}
	return "", err
}

// match removes from unseen the rows of the step that are in the table, and counts those that are
// not in unseen.
func (t *Table) match(ctx context.Context, s Step, read *Recent, unseen map[uint64]bool) (missing int64, err error) {
	rows, err := t.pool.Query(ctx, t.sql(rowsOf),
		text(s.From.Next()), text(s.To.Next()), s.To.String(), lateTexts(s), s.From.String())
	if err != nil {
		return 0, fmt.Errorf("compare the rows from snapshot %s to %s: %w", s.From, s.To, err)
	}
	var xid, seq, id string
	_, err = pgx.ForEachRow(rows, []any{&xid, &seq, &id}, func() error {
		number, err := pgsnapshot.ParseXID(xid)
		if err != nil {
			return err
		}
		hash := read.hash(number, seq, id, t.table.Source)
		if !unseen[hash] {
			missing++
		}
		delete(unseen, hash)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("compare the rows from snapshot %s to %s: %w", s.From, s.To, err)
	}
	return missing, nil
}

// shows reports whether the table has a row that is visible in a snapshot.
func (t *Table) shows(ctx context.Context, s pgsnapshot.Snapshot) (shown bool, err error) {
	const query = `SELECT EXISTS (SELECT FROM {table} WHERE pg_visible_in_snapshot({xid}, $1::text::pg_snapshot)
		AND {filter})`
	if err := t.pool.QueryRow(ctx, t.sql(query), s.String()).Scan(&shown); err != nil {
		return false, fmt.Errorf("look for rows that snapshot %s shows: %w", s, err)
	}
	return shown, nil
}
