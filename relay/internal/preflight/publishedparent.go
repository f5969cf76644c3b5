package preflight

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// publishedParent finds the topmost table that the publication has, of those that the table is a
// partition of, and whether it has it by name.
const publishedParent = `
	SELECT n.nspname, c.relname, r.oid IS NOT NULL AND NOT p.puballtables AND s.oid IS NULL
	FROM pg_publication p CROSS JOIN pg_catalog.pg_partition_ancestors($2) WITH ORDINALITY AS a (oid, level)
	JOIN pg_class c ON c.oid = a.oid JOIN pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
	LEFT JOIN pg_publication_namespace s ON s.pnpubid = p.oid AND s.pnnspid = n.oid
	WHERE p.pubname = $1 AND p.pubviaroot AND c.oid <> $2
	      AND (p.puballtables OR r.oid IS NOT NULL OR s.oid IS NOT NULL)
	ORDER BY a.level DESC LIMIT 1`

// notPublished is the finding of a publication that does not have the table under its own name.
func (d *database) notPublished(ctx context.Context) Finding {
	object, name := "publication "+d.Publication, outboxtable.Quote(d.Publication)
	var parent outboxtable.Table
	var isNamed bool
	err := d.Pool.QueryRow(ctx, publishedParent, d.Publication, d.oid).Scan(&parent.Schema, &parent.Name, &isNamed)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		if other, err := d.slotTable(ctx); err != nil || other != "" {
			return d.publicationOfOther(other, err)
		}
		return failed(CodePublication, object, "publication %s does not contain %s", d.Publication, d.tableName()).
			with("ALTER PUBLICATION %s ADD TABLE %s;", name, d.Table.Identifier())
	case err != nil:
		return unknown(CodePublication, object, err)
	}
	found := failed(CodePublication, object, "publication %s streams the rows of %s under the name of %s, because %s "+
		"is a partition of it: remove that table from the publication, or give the relay a publication of %s alone "+
		"(RELAY_PUBLICATION)", d.Publication, d.tableName(), parent, d.tableName(), d.tableName())
	if isNamed {
		return found.with("ALTER PUBLICATION %s DROP TABLE %s;", name, parent.Identifier())
	}
	return found.with("%s;", outboxtable.CreatePublicationSQL(d.Publication+"_"+d.Table.Name, d.Table))
}

// publicationOfOther is the finding of a publication whose relay has another table.
func (d *database) publicationOfOther(other string, err error) Finding {
	object := "publication " + d.Publication
	if err != nil {
		return unknown(CodePublication, object, err)
	}
	return failed(CodePublication, object, "publication %s does not contain %s, and the relay of slot %s, which has "+
		"table %s, would stream its rows too: create a publication of its own, and set RELAY_PUBLICATION=%s and "+
		"RELAY_SLOT=%s", d.Publication, d.tableName(), d.Slot, other, d.ownPublication(), d.ownSlot()).
		with("%s;", outboxtable.CreatePublicationSQL(d.ownPublication(), d.Table))
}
