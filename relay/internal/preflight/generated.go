package preflight

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// generatedVersion is the first version that can publish generated columns, if they are stored.
// https://www.postgresql.org/docs/18/logical-replication-gencols.html
const generatedVersion = 18

// generatedColumns checks that the log contains the columns that the relay reads. It contains a
// stored generated column only if the publication includes it, and never a virtual one.
func (d *database) generatedColumns(ctx context.Context) Findings {
	var found Findings
	for _, name := range d.mapped() {
		switch c := d.columns[name]; {
		case c.generated == generatedStored && d.version >= generatedVersion:
			found = append(found, d.publishedColumn(ctx, name))
		case c.generated != "":
			found = append(found, d.unpublishedColumn(name, c))
		}
	}
	return found
}

// publishedColumn checks that the publication streams a stored generated column.
func (d *database) publishedColumn(ctx context.Context, name string) Finding {
	object := d.columnObject(name)
	var published bool
	err := d.Pool.QueryRow(ctx, `
		SELECT coalesce(bool_or($4 = ANY (attnames)), false) FROM pg_publication_tables
		WHERE pubname = $1 AND schemaname = $2 AND tablename = $3`,
		d.Publication, d.Table.Schema, d.Table.Name, name).Scan(&published)
	switch {
	case err != nil:
		return unknown(CodeGenerated, object, err)
	case !published:
		return failed(CodeGenerated, object, "column %s is generated, and publication %s does not stream such columns",
			name, d.Publication).
			with("ALTER PUBLICATION %s SET (publish_generated_columns = stored);", outboxtable.Quote(d.Publication))
	}
	return passed(CodeGenerated, object, "column %s is generated, and publication %s streams it", name, d.Publication)
}

// unpublishedColumn is the finding of a generated column that no publication streams. Its statement
// keeps the values, and a trigger computes later ones. A virtual column becomes a stored one.
func (d *database) unpublishedColumn(name string, c column) Finding {
	table, quoted := d.Table.Identifier(), outboxtable.Quote(name)
	if c.generated == generatedVirtual {
		return failed(CodeGenerated, d.columnObject(name), "column %s is generated and virtual, so it is never in "+
			"the log: map another column, or store this one, which rewrites the table", name).
			with("ALTER TABLE %[1]s DROP COLUMN %[2]s, ADD COLUMN %[2]s %[3]s GENERATED ALWAYS AS (%[4]s) STORED; "+
				"ALTER PUBLICATION %[5]s SET (publish_generated_columns = stored);",
				table, quoted, c.dataType, c.expression, outboxtable.Quote(d.Publication))
	}
	function := outboxtable.Table{Schema: d.Table.Schema, Name: d.Table.Name + "_" + name}.Identifier()
	return failed(CodeGenerated, d.columnObject(name), "column %s is generated, and Postgres %d never streams such "+
		"columns: map another column, or make it an ordinary one that a trigger fills in", name, d.version).
		with("ALTER TABLE %[1]s ALTER COLUMN %[2]s DROP EXPRESSION; CREATE FUNCTION %[3]s() RETURNS trigger "+
			"LANGUAGE plpgsql AS $$ BEGIN NEW.%[2]s := (SELECT %[4]s FROM (SELECT NEW.*) AS inserted); RETURN NEW; "+
			"END $$; CREATE TRIGGER %[5]s BEFORE INSERT OR UPDATE ON %[1]s FOR EACH ROW EXECUTE FUNCTION %[3]s();",
			table, quoted, function, c.expression, outboxtable.Quote(d.Table.Name+"_"+name))
}
