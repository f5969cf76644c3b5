package deferral

import (
	"context"
	"fmt"
	"strings"

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

// ability asks for what a deferral needs of each table: the table of the relay's own schema, and
// the sequences of the column with which rows are numbered.
var ability = `
	SELECT to_regclass(asked.identifier)::oid IS NOT DISTINCT FROM to_regclass('outbox_events')::oid,
	       source.sequences,
	       EXISTS (` + indexOn + ` AND a.attname = asked.seq
	       	AND (i.indisunique AND i.indnkeyatts = 1 OR c.relkind = 'p')),
	       EXISTS (` + indexOn + ` AND a.attname = asked.xid), source.in_order
	FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS asked (identifier, seq, xid, n)
	CROSS JOIN LATERAL (
		SELECT count(*) AS sequences,
			coalesce(bool_and(seqcache = 1 AND seqincrement > 0 AND NOT seqcycle), false) AS in_order
		FROM (` +
	strings.NewReplacer("$1", "asked.identifier", "$2", "asked.seq").Replace(outboxtable.SequencesSQL) + `) AS s
	) AS source
	ORDER BY asked.n`

// indexOn is an index of the table without a condition, and its first column.
const indexOn = `
	SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
	JOIN pg_class c ON c.oid = i.indrelid
	WHERE i.indrelid = to_regclass(asked.identifier) AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL`

// Missing returns why events of an unavailable destination cannot wait in the table, or the empty
// string if they can. For several tables it is why the first that lacks something does.
func Missing(ctx context.Context, db outboxtable.Querier, table outboxtable.Table, stay RowsStay) (string, error) {
	tables := table.Each()
	missing := func(one outboxtable.Table, why string) string {
		if table.IsSeveral() {
			return "table " + one.String() + ": " + why
		}
		return why
	}
	for _, one := range tables {
		if why := unmapped(one.Columns, stay); why != "" {
			return missing(one, why), nil
		}
	}
	answers, err := ask(ctx, db, table)
	if err != nil {
		return "", err
	}
	for i, one := range tables {
		if why := answers[i].missing(one.Columns, stay); why != "" {
			return missing(one, why), nil
		}
	}
	return "", nil
}

// unmapped returns what the settings of a table lack.
func unmapped(c outboxtable.Columns, stay RowsStay) string {
	switch {
	case c.XID == "":
		return "the table has no column with the writing transaction (RELAY_COLUMN_XID)"
	case c.Sequence == "":
		return "the table has no column that numbers its rows (RELAY_COLUMN_SEQUENCE)"
	case stay == Deny:
		return "RELAY_ROWS_STAY=deny says that rows may be removed before they are delivered"
	}
	return ""
}

// answer is the answer of [ability] for a table.
type answer struct {
	IsOwn                             bool
	Sequences                         int
	HasSeqIndex, HasXIDIndex, InOrder bool
}

// ask returns an answer for each of the tables, in their order.
func ask(ctx context.Context, db outboxtable.Querier, table outboxtable.Table) ([]answer, error) {
	identifiers, seqs, xids := []string{}, []string{}, []string{}
	for _, one := range table.Each() {
		identifiers = append(identifiers, one.Identifier())
		seqs, xids = append(seqs, one.Columns.Sequence), append(xids, one.Columns.XID)
	}
	rows, err := db.Query(ctx, ability, identifiers, seqs, xids)
	if err != nil {
		return nil, fmt.Errorf("look up the sequence of %s: %w", table, err)
	}
	answers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[answer])
	if err != nil {
		return nil, fmt.Errorf("look up the sequence of %s: %w", table, err)
	}
	return answers, nil
}

func (a answer) missing(c outboxtable.Columns, stay RowsStay) string {
	switch {
	case !a.IsOwn && stay == Auto:
		return "the relay does not know whether a job removes rows before their delivery. If none does, set " +
			"RELAY_ROWS_STAY=assert"
	case !a.HasSeqIndex:
		return "no unique index on " + c.Sequence + " finds the next rows"
	case !a.HasXIDIndex:
		return "no index on " + c.XID + " finds the rows of late commits"
	case a.Sequences != 1:
		return fmt.Sprintf("%s takes its values from %d sequences, and one is needed", c.Sequence, a.Sequences)
	case !a.InOrder:
		return fmt.Sprintf("the sequence of %s has a cache above 1, or does not rise: later rows may have lower "+
			"numbers", c.Sequence)
	}
	return ""
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
