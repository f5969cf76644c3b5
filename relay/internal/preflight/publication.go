package preflight

import (
	"context"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
)

// publication checks that the publication streams, under the table's own name, every row with the
// columns that the relay reads. It may exclude other columns, and excludes generated ones by
// default.
func (d *database) publication(ctx context.Context) Findings {
	if d.Publication == "" || d.Table.Name == "" { // the setting is a finding already
		return nil
	}
	object := "publication " + d.Publication
	var exists, inserts, viaRoot, partitioned, contains, filtered bool
	err := d.Pool.QueryRow(ctx, `
		SELECT p.oid IS NOT NULL, coalesce(p.pubinsert, false), coalesce(p.pubviaroot, false),
		       coalesce(c.relkind = 'p' OR c.relispartition, false), t.pubname IS NOT NULL,
		       coalesce(t.rowfilter IS NOT NULL OR NOT t.attnames @> $5::name[], false)
		FROM (SELECT) AS one
		LEFT JOIN pg_publication p ON p.pubname = $1
		LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname AND t.schemaname = $2 AND t.tablename = $3
		LEFT JOIN pg_class c ON c.oid = $4`,
		d.Publication, d.Table.Schema, d.Table.Name, d.oid, d.plain()).
		Scan(&exists, &inserts, &viaRoot, &partitioned, &contains, &filtered)
	name := pgoutput.Quote(d.Publication)
	fail := func(format string, args ...any) Finding { return failed(CodePublication, object, format, args...) }
	switch {
	case err != nil:
		return Findings{unknown(CodePublication, object, err)}
	case !exists:
		return Findings{fail("publication %s does not exist: create it, or name yours in "+
			"RELAY_PUBLICATION", d.Publication).
			with("CREATE PUBLICATION %s FOR TABLE %s WITH (publish = 'insert', publish_via_partition_root = true);",
				name, d.Table.Identifier())}
	// This case precedes the next one: the view lists the partitions instead of the table.
	case partitioned && !viaRoot:
		return Findings{fail("publication %s streams the partitions of %s under their own names",
			d.Publication, d.tableName()).
			with("ALTER PUBLICATION %s SET (publish_via_partition_root = true);", name)}
	case !contains:
		return Findings{fail("publication %s does not contain %s", d.Publication, d.tableName()).
			with("ALTER PUBLICATION %s ADD TABLE %s;", name, d.Table.Identifier())}
	case !inserts:
		return Findings{fail("publication %s does not publish inserts", d.Publication).
			with("ALTER PUBLICATION %s SET (publish = 'insert');", name)}
	case filtered:
		return Findings{fail("publication %s excludes rows of %s or columns that the relay reads",
			d.Publication, d.tableName()).
			with("ALTER PUBLICATION %s SET TABLE %s;", name, d.Table.Identifier())}
	}
	return Findings{passed(CodePublication, object, "publication %s streams the rows of %s",
		d.Publication, d.tableName())}
}

// plain returns the columns that the relay reads, except missing and generated ones, which have
// their own findings.
func (d *database) plain() []string {
	return slices.DeleteFunc(d.mapped(), func(name string) bool {
		c, exists := d.columns[name]
		return d.columns != nil && !exists || c.generated != ""
	})
}
