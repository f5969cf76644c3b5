package preflight

import (
	"context"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// publication checks that the publication streams, under the table's own name, every row with the
// columns that the relay reads. It may exclude other columns, and excludes generated ones by
// default.
func (d *database) publication(ctx context.Context) Findings {
	if d.Publication == "" || d.Table.Name == "" { // the setting is a finding already
		return nil
	}
	object := "publication " + d.Publication
	var exists, inserts, updates, viaRoot, partitioned, contains, lacksColumns, hasFilter bool
	var filter string // that applies
	err := d.Pool.QueryRow(ctx, `
		SELECT p.oid IS NOT NULL, coalesce(p.pubinsert, false), coalesce(p.pubviaroot, false),
		       coalesce(c.relkind = 'p' OR c.relispartition, false), t.pubname IS NOT NULL,
		       coalesce(NOT t.attnames @> $5::name[], false), coalesce(p.pubupdate, false), coalesce(t.rowfilter, ''),
		       EXISTS (SELECT FROM pg_publication_rel r
		               WHERE r.prpubid = p.oid AND r.prrelid = $4 AND r.prqual IS NOT NULL)
		FROM (SELECT) AS one
		LEFT JOIN pg_publication p ON p.pubname = $1
		LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname AND t.schemaname = $2 AND t.tablename = $3
		LEFT JOIN pg_class c ON c.oid = $4`,
		d.Publication, d.Table.Schema, d.Table.Name, d.oid, d.plain()).
		Scan(&exists, &inserts, &viaRoot, &partitioned, &contains, &lacksColumns, &updates, &filter, &hasFilter)
	name := outboxtable.Quote(d.Publication)
	fail := func(format string, args ...any) Finding { return failed(CodePublication, object, format, args...) }
	switch {
	case err != nil:
		return Findings{unknown(CodePublication, object, err)}
	case !exists && d.oid == 0: // no statement creates a publication of a missing table
		return Findings{fail("publication %s does not exist: create it with its table with relay migrate, or name "+
			"yours in RELAY_PUBLICATION", d.Publication).
			with("relay migrate")}
	case d.oid == 0: // the table's finding says what to do
		return nil
	case !exists:
		return Findings{fail("publication %s does not exist: create it, or name yours in "+
			"RELAY_PUBLICATION", d.Publication).
			with("%s;", outboxtable.CreatePublicationSQL(d.Publication, d.Table))}
	// This case precedes the next one: the view lists the partitions instead of the table.
	case partitioned && !viaRoot:
		return Findings{fail("publication %s streams the partitions of %s under their own names",
			d.Publication, d.tableName()).
			with("ALTER PUBLICATION %s SET (publish_via_partition_root = true);", name)}
	case !contains && d.isExcluded: // the log's finding has the statement
		return nil
	case !contains:
		return Findings{d.notPublished(ctx)}
	case !inserts:
		return Findings{fail("publication %s does not publish inserts", d.Publication).
			with("ALTER PUBLICATION %s SET (publish = 'insert');", name)}
	case lacksColumns:
		return Findings{fail("publication %s excludes columns that the relay reads from %s",
			d.Publication, d.tableName()).
			with("ALTER PUBLICATION %s SET TABLE %s;", name, d.Table.Identifier())}
	case hasFilter || filter != "":
		return Findings{d.rowFilter(filter, updates)}
	}
	return Findings{passed(CodePublication, object, "publication %s streams the rows of %s",
		d.Publication, d.tableName())}
}

// rowFilter judges the row filter of the publication. An empty filter does not apply, because the
// publication also has the whole schema.
//
// The relay reads the filter from the catalog and applies it to each statement that reads the
// table. That says what the log brings only as long as a row does not change what the filter reads.
// With updates, Postgres turns an UPDATE by which a row passes the filter into an insert.
// https://www.postgresql.org/docs/current/logical-replication-row-filter.html
func (d *database) rowFilter(filter string, updates bool) Finding {
	object, name := "publication "+d.Publication, outboxtable.Quote(d.Publication)
	fail := func(format string, args ...any) Finding { return failed(CodePublication, object, format, args...) }
	switch {
	case filter == "":
		return fail("publication %s has the schema of %s and the table with a row filter, which does not apply: "+
			"remove the filter", d.Publication, d.tableName()).
			with("ALTER PUBLICATION %s DROP TABLE %s;", name, d.Table.Identifier())
	case d.Table.FilteredBy == "":
		return fail("publication %s excludes rows of %s, as it has only those WHERE %s. Remove the filter. If the "+
			"other rows are no events of this relay, and no program changes what the filter reads after the INSERT, "+
			"set RELAY_ROW_FILTER=assert", d.Publication, d.tableName(), filter).
			with("ALTER PUBLICATION %s SET TABLE %s;", name, d.Table.Identifier())
	case updates:
		return fail("publication %s has a row filter and publishes updates: Postgres turns an UPDATE by which a row "+
			"passes the filter into an insert, which would arrive as an event", d.Publication).
			with("ALTER PUBLICATION %s SET (publish = 'insert');", name)
	}
	return passed(CodePublication, object, "publication %s streams the rows of %s WHERE %s, which no program changes "+
		"after the INSERT, as RELAY_ROW_FILTER=assert says", d.Publication, d.tableName(), filter)
}

// plain returns the columns that the relay reads, except missing and generated ones, which have
// their own findings.
func (d *database) plain() []string {
	return slices.DeleteFunc(d.mapped(), func(name string) bool {
		c, exists := d.columns[name]
		return d.columns != nil && !exists || c.generated != ""
	})
}
