package deferral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// RowsStay says what is known of the rows of an outbox table.
type RowsStay string

// What an operator says. See RELAY_ROWS_STAY.
const (
	Auto   RowsStay = "auto"   // those of the relay's own table do
	Assert RowsStay = "assert" // they do
	Deny   RowsStay = "deny"   // they do not
)

// ability asks for what a deferral needs: the table of the relay's own schema, and the sequences of
// the column with which rows are numbered.
const ability = `
	WITH source AS (` + outboxtable.SequencesSQL + `)
	SELECT to_regclass($1)::oid IS NOT DISTINCT FROM to_regclass('outbox_events')::oid,
	       (SELECT count(*) FROM source),
	       EXISTS (` + indexOn + ` AND a.attname = $2 AND (i.indisunique AND i.indnkeyatts = 1 OR c.relkind = 'p')),
	       EXISTS (` + indexOn + ` AND a.attname = $3),
	       coalesce((SELECT bool_and(seqcache = 1 AND seqincrement > 0 AND NOT seqcycle) FROM source), false)`

// indexOn is an index of the table without a condition, and its first column.
const indexOn = `
	SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
	JOIN pg_class c ON c.oid = i.indrelid
	WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL`

// Missing returns why events of an unavailable destination cannot wait in the table, or the empty
// string if they can.
func Missing(ctx context.Context, db outboxtable.Querier, table outboxtable.Table, stay RowsStay) (string, error) {
	c := table.Columns
	switch {
	case table.IsSeveral():
		return missingOfAny(ctx, db, table, stay)
	case c.XID == "":
		return "the table has no column with the writing transaction (RELAY_COLUMN_XID)", nil
	case c.Sequence == "":
		return "the table has no column that numbers its rows (RELAY_COLUMN_SEQUENCE)", nil
	case stay == Deny:
		return "RELAY_ROWS_STAY=deny says that rows may be removed before they are delivered", nil
	}
	rows, err := db.Query(ctx, ability, table.Identifier(), c.Sequence, c.XID)
	if err != nil {
		return "", fmt.Errorf("look up the sequence of %s: %w", table.Identifier(), err)
	}
	type answer struct {
		IsOwn, HasSeqIndex, HasXIDIndex, InOrder bool
		Sequences                                int
	}
	found, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (a answer, err error) {
		err = row.Scan(&a.IsOwn, &a.Sequences, &a.HasSeqIndex, &a.HasXIDIndex, &a.InOrder)
		return a, err
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("look up the sequence of %s: %w", table.Identifier(), err)
	case !found.IsOwn && stay == Auto:
		return "nothing says that rows of this table stay until they are delivered: RELAY_ROWS_STAY=assert does", nil
	case !found.HasSeqIndex:
		return "no unique index on " + c.Sequence + " finds the next rows", nil
	case !found.HasXIDIndex:
		return "no index on " + c.XID + " finds the rows of late commits", nil
	case found.Sequences != 1:
		return fmt.Sprintf("%s takes its values from %d sequences, and one is needed", c.Sequence, found.Sequences), nil
	case !found.InOrder:
		return fmt.Sprintf("the sequence of %s has a cache above 1, or does not rise: later rows may have lower "+
			"numbers", c.Sequence), nil
	}
	return "", nil
}

// MissingForAll returns why not all events of an unavailable destination can wait in the table, or
// the empty string if they can. One pair of snapshot and seq cannot tell which rows of several
// tables are done, so their aggregates alone can wait.
func MissingForAll(
	ctx context.Context, db outboxtable.Querier, table outboxtable.Table, stay RowsStay,
) (string, error) {
	if table.IsSeveral() || table.Source != nil {
		return "RELAY_TABLE names several tables", nil
	}
	return Missing(ctx, db, table, stay)
}

// missingOfAny is [Missing] for several tables: why the first that lacks something does.
func missingOfAny(
	ctx context.Context, db outboxtable.Querier, table outboxtable.Table, stay RowsStay,
) (string, error) {
	for _, one := range table.Each() {
		if missing, err := Missing(ctx, db, one, stay); missing != "" || err != nil {
			return "table " + one.String() + ": " + missing, err
		}
	}
	return "", nil
}
