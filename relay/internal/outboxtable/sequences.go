package outboxtable

// SequencesSQL finds the sequences of a column, of the table and of its partitions: those of an
// identity, and those that a default takes its values from. $1 is the table's identifier, $2 the
// name of the column.
const SequencesSQL = `
	WITH RECURSIVE tree AS (
		SELECT c.oid, c.relkind FROM pg_class c WHERE c.oid = to_regclass($1)
		UNION ALL
		SELECT c.oid, c.relkind FROM tree t
		JOIN pg_inherits i ON i.inhparent = t.oid JOIN pg_class c ON c.oid = i.inhrelid
		WHERE t.relkind = 'p'
	), col AS (
		SELECT a.attrelid, a.attnum FROM tree t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = $2
	), found AS (
		SELECT d.objid AS seq FROM col c
		JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.attrelid
			AND d.refobjsubid = c.attnum AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'
		UNION
		SELECT d.refobjid FROM col c JOIN pg_attrdef f ON f.adrelid = c.attrelid AND f.adnum = c.attnum
			JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
				AND d.refclassid = 'pg_class'::regclass
	)
	SELECT s.* FROM pg_sequence s JOIN found ON found.seq = s.seqrelid`
