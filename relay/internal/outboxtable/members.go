package outboxtable

import (
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// MembersSQL lists the members of the outbox tables: each table itself, or its partitions at every
// level, and the table as its root. Tables that merely inherit are excluded, because a publication
// streams those under their own names. attached changes whenever a partition is attached, at
// whatever level above the member, and when an unlogged one becomes logged. For one of several
// tables it also changes when the table is added to the publication.
func MembersSQL(t Table) string {
	return strings.NewReplacer("{roots}", rootsSQL(t), "{added}", addedSQL(t)).Replace(`
	RECURSIVE tree AS (
		SELECT c.oid AS root, c.oid AS relation, {added} AS attached, c.relkind, c.relpersistence FROM pg_class c
			WHERE c.oid {roots}
		UNION ALL
		SELECT t.root, c.oid, t.attached || '/' || i.xmin::text, c.relkind, c.relpersistence
		FROM tree t JOIN pg_inherits i ON i.inhparent = t.relation AND NOT i.inhdetachpending
			JOIN pg_class c ON c.oid = i.inhrelid
		WHERE t.relkind = 'p'
	), member AS (
		SELECT root, relation, attached || CASE relpersistence WHEN 'p' THEN ''
			ELSE '/' || relpersistence::text END AS attached FROM tree WHERE relkind <> 'p'
	)`)
}

// rootsSQL is a condition on an oid: it is one of the tables.
func rootsSQL(t Table) string {
	if t.Several == nil {
		return "= to_regclass(" + QuoteLiteral(t.Identifier()) + ")"
	}
	roots := make([]string, len(t.Several.Tables))
	for i, one := range t.Several.Tables {
		roots[i] = QuoteLiteral(one.Identifier())
	}
	// Postgres evaluates the subquery once, and a list of calls for every row of pg_class
	return "= ANY (ARRAY(SELECT to_regclass(name) FROM pg_catalog.unnest(ARRAY[" + strings.Join(roots, ", ") +
		"]::text[]) AS named (name))::oid[])"
}

// addedSQL is an expression for the way in which the publication has the table c. It is another one
// once the table was removed and added again, or attached to a parent and detached: rows that were
// written in between are not in the log, or under the name of the parent.
func addedSQL(t Table) string {
	publication := t.publication
	if t.Several != nil {
		publication = t.Several.Publication
	}
	if publication == "" {
		return "''::text"
	}
	return `coalesce((SELECT 'p' || pg_catalog.concat_ws(':', r.oid, r.xmin, n.oid, n.xmin,
			` + slot.MovedSQL("c", "n") + `, ` + slot.DetachedSQL("c", "p") + `) FROM pg_publication p
		LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
		LEFT JOIN pg_publication_namespace n ON n.pnpubid = p.oid AND n.pnnspid = c.relnamespace
		WHERE p.pubname = ` + QuoteLiteral(publication) + `), '')`
}

// SystemSQL is the identifier of the cluster. Oids and transaction ids of another cluster have no
// meaning here.
const SystemSQL = `(SELECT system_identifier::text FROM pg_control_system())`

// AccountedSQL is a condition on an oid: every slot of the outbox table has accounted for the rows
// of this relation. relation is the SQL text of the relation's oid. table is a placeholder for
// schema.name of the outbox table as the checkpoint rows have it.
func AccountedSQL(t Table, relation, table string) string {
	return accounted(t, relation, "c.outbox_table = "+table)
}

// AccountedBySQL is [AccountedSQL] for one slot. slot is a placeholder for its name.
func AccountedBySQL(t Table, relation, slot string) string {
	return accounted(t, relation, "c.slot_name = "+slot)
}

func accounted(t Table, relation, checkpoints string) string {
	return relation + ` = ANY (ARRAY(
		WITH ` + MembersSQL(t) + `
		SELECT m.relation FROM member m WHERE NOT EXISTS (
			SELECT FROM relay_checkpoints c WHERE ` + checkpoints + ` AND ` + NotGuardSQL + ` AND NOT EXISTS (
				SELECT FROM relay_members k
				WHERE k.slot_name = c.slot_name AND k.relation = m.relation AND k.attached = m.attached AND k.accounted
				  AND k.system_identifier = ` + SystemSQL + `))))`
}

// WriterSQL is the transaction that wrote a version of a row, as a bigint: xmin with the epoch that
// it lost. It is exact for the last four billion transactions, and an older one only ever seems
// younger.
func WriterSQL(xmin string) string {
	const next = `(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)`
	return `(` + next + ` - ((` + next + ` - ` + xmin + `::text::bigint) & 4294967295))`
}

// LaterWriterSQL is the transaction that wrote a row if its xid names another one, and otherwise
// the lowest transaction id. A producer or a restore made such an xid up, or the row was written
// below a savepoint or changed later. The row was certainly delivered only if every transaction up
// to its writer had ended by the horizon. row is a prefix of the row's columns, which may be empty.
func LaterWriterSQL(row, xid string) string {
	return "CASE WHEN " + row + Quote(xid) + "::xid = " + row + "xmin THEN '0'::xid8 ELSE " +
		WriterSQL(row+"xmin") + "::text::xid8 END"
}

// GuardOf names the row of relay_checkpoints that keeps relays of earlier versions from removing
// rows which wait for a destination of this slot. No slot has such a name, because names of slots
// contain no space. No relation is accounted for in that name, so an earlier relay removes nothing.
func GuardOf(slotName string) string { return slotName + guard }

// GuardSQL is the SQL of [GuardOf]. slotName is an expression.
func GuardSQL(slotName string) string { return slotName + ` || '` + guard + `'` }

const guard = " deferred"

// TableGuardSQL names the row of relay_checkpoints that keeps relays of earlier versions from
// removing rows of one of several tables of a slot. Its outbox_table names this table alone.
// slotName and number are expressions.
func TableGuardSQL(slotName, number string) string { return slotName + ` || ' table ' || ` + number }

// FilterOf names the row of relay_checkpoints with the row filter that a slot's publication had
// last. Its horizon shows the rows that a former filter may have excluded. It is NULL without one.
func FilterOf(slotName string) string { return slotName + rowFilter }

const rowFilter = " row filter"

// FormerSQL lists the snapshots of the slots of an outbox table in which a row may be one that a
// former row filter excluded. slots is a relation with the column slot_name.
func FormerSQL(slots string) string {
	return `SELECT f.horizon FROM ` + slots + ` s
		JOIN relay_checkpoints f ON f.slot_name = s.slot_name || '` + rowFilter + `' WHERE f.horizon IS NOT NULL`
}

// NotGuardSQL is a condition on a row c of relay_checkpoints: it belongs to a slot.
const NotGuardSQL = `position(' ' IN c.slot_name) = 0`
