package preflight

import (
	"context"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// updates checks that the rows of the table stay as they were inserted. A publication of inserts
// does not stream an UPDATE, nor the one that an upsert makes, and the relay skips those of any
// other. The server counts them for each table.
// https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-TABLES-VIEW
func (d *database) updates(ctx context.Context) Findings {
	if d.columns == nil {
		return nil
	}
	var updates int64
	var tables []string
	err := d.Pool.QueryRow(ctx, `
		WITH `+outboxtable.MembersSQL(d.Table)+`
		SELECT coalesce(sum(pg_catalog.pg_stat_get_tuples_updated(m.relation)), 0)::bigint,
		       coalesce(pg_catalog.array_agg(pg_catalog.format('%I.%I', n.nspname, c.relname) ORDER BY c.oid), '{}')
		FROM member m JOIN pg_class c ON c.oid = m.relation JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE pg_catalog.pg_stat_get_tuples_updated(m.relation) > 0`).Scan(&updates, &tables)
	if err == nil && updates > 0 {
		updates, err = d.byServices(ctx, updates)
	}
	switch {
	case err != nil:
		return Findings{unknown(CodeUpdates, d.tableObject(), err)}
	case updates == 0:
		return Findings{passed(CodeUpdates, d.tableObject(), "no row of %s was updated", d.tableName())}
	}
	return Findings{degraded(CodeUpdates, d.tableObject(), "%s of rows of table %s %s counted, those of "+
		"INSERT … ON CONFLICT DO UPDATE included: %s. The relay sends a row as it was inserted, once, and no later "+
		"version of it. Insert a new row for each event. Once no program updates rows, a superuser can reset the "+
		"count",
		span.Count(updates, "update"), d.tableName(), span.Verb(updates, "was", "were"), d.fateOfUpdates(ctx)).
		with("%s", resetCounts(tables))}
}

// byServices returns the updates without those of the statements that numbered the existing rows.
// A server that crashed has lost its counts: fewer updates than numbered rows are all of services.
func (d *database) byServices(ctx context.Context, updates int64) (int64, error) {
	var numbered int64
	err := d.Pool.QueryRow(ctx, `
		WITH source AS (`+outboxtable.SequencesSQL+`)
		SELECT coalesce(max(-greatest(seqmin, -9223372036854775807)), 0) FROM source WHERE seqmin < 0`,
		d.Table.Identifier(), d.Table.Columns.Sequence).Scan(&numbered)
	if err != nil || numbered > updates {
		return updates, err
	}
	return updates - numbered, nil
}

// fateOfUpdates says where an update is lost.
func (d *database) fateOfUpdates(ctx context.Context) string {
	var publishes bool
	err := d.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1 AND pubupdate)`,
		d.Publication).Scan(&publishes)
	if err == nil && publishes {
		return "the relay skips them"
	}
	return "publication " + outboxtable.Quote(d.Publication) + " does not publish them (publish = 'insert')"
}

// resetCounts returns the statements that set the counts of these tables to zero.
func resetCounts(tables []string) string {
	var statements []string
	for _, table := range tables {
		statements = append(statements,
			"SELECT pg_stat_reset_single_table_counters("+outboxtable.QuoteLiteral(table)+"::regclass);")
	}
	return strings.Join(statements, " ")
}
