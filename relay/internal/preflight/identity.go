package preflight

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// uniqueIndexed reports whether every row of the outbox table has its own value in a column. The
// proof is a valid, unconditional unique index on exactly that column: one of the table, or one of
// each partition. A deferred constraint counts, because only committed rows are streamed.
const uniqueIndexed = `
	WITH RECURSIVE tree AS (
		SELECT c.oid, c.relkind FROM pg_class c WHERE c.oid = to_regclass($1)
		UNION ALL
		SELECT c.oid, c.relkind FROM tree t
		JOIN pg_inherits i ON i.inhparent = t.oid JOIN pg_class c ON c.oid = i.inhrelid WHERE t.relkind = 'p'
	), indexed AS (
		SELECT t.oid, t.relkind, EXISTS (
			SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
			WHERE i.indrelid = t.oid AND a.attname = $2 AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1
			  AND i.indpred IS NULL AND i.indexprs IS NULL) AS is
		FROM tree t
	)
	SELECT bool_or("is" AND oid = to_regclass($1)), coalesce(bool_and("is") FILTER (WHERE relkind <> 'p'), true),
	       bool_or(relkind = 'p')
	FROM indexed`

// uniqueID checks that no two events share an id.
func (d *database) uniqueID(ctx context.Context) Findings {
	name := d.Table.Columns.ID
	if _, exists := d.columns[name]; !exists {
		return nil
	}
	object := d.columnObject(name)
	var unique, eachPartition, partitioned bool
	err := d.Pool.QueryRow(ctx, uniqueIndexed, d.Table.Identifier(), name).Scan(&unique, &eachPartition, &partitioned)
	column := outboxtable.Quote(name)
	switch {
	case err != nil:
		return Findings{unknown(CodeID, object, err)}
	case unique:
		return Findings{passed(CodeID, object, "column %s tells the events apart", name)}
	case d.IDUnique:
		return Findings{passed(CodeID, object,
			"column %s tells the events apart, as RELAY_ID_UNIQUE=assert says", name)}
	case partitioned:
		return Findings{d.mayRepeatID(", because an index of a partitioned table needs the partition key too",
			"If your services never use an id twice, as with UUIDs, set").with("RELAY_ID_UNIQUE=assert")}
	}
	return Findings{d.mayRepeatID("", "Make it unique, or set RELAY_ID_UNIQUE=assert if your services never use an "+
		"id twice").
		with("CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s);", d.Table.Identifier(), column)}
}

// mayRepeatID is the finding of ids that may be shared. The relay keeps such events apart. A FIFO
// destination accepts and drops the second event within five minutes, so an event that counts as
// delivered is lost.
func (d *database) mayRepeatID(because, advice string) Finding {
	name := d.Table.Columns.ID
	object := d.columnObject(name)
	if d.FIFO {
		return failed(CodeID, object, "two events can have the same %s%s: a FIFO destination accepts the second "+
			"event of an id within five minutes and drops it. %s", name, because, advice)
	}
	return degraded(CodeID, object, "two events can have the same %s%s: consumers take the second event of an id "+
		"for a duplicate, and a FIFO destination would drop it. %s", name, because, advice)
}

// nullableID checks that every event has an id. A unique index accepts many rows whose id is NULL,
// and the relay refuses their events. A default makes such a row unlikely.
func (d *database) nullableID(context.Context) Findings {
	name := d.Table.Columns.ID
	if c, exists := d.columns[name]; !exists || c.notNull || c.defaulted {
		return nil
	}
	return Findings{degraded(CodeID, d.columnObject(name), "column %s may be NULL: an event without an id becomes a "+
		"dead letter", name).
		with("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL;", d.Table.Identifier(), outboxtable.Quote(name))}
}

// numbering is how the database numbers the rows.
type numbering struct {
	sequences        int // sequences of the table and its partitions
	name             *string
	cache, increment *int64
	cycles           *bool
	identity         bool
	oneSequence      string // if there are several: statements that replace them by one sequence
}

// sequencesOf counts the sequences of a column and describes them.
const sequencesOf = `
	WITH source AS (` + outboxtable.SequencesSQL + `)
	SELECT count(*), max(seqrelid::regclass::text), max(seqcache), min(seqincrement), bool_or(seqcycle),
	       EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND attidentity <> '')
	FROM source`

// ordered checks that the sequence column gives each row a different value, in the order in which
// one writer writes the rows.
func (d *database) ordered(ctx context.Context) Findings {
	name := d.Table.Columns.Sequence
	if c, exists := d.columns[name]; !exists || !c.filled() {
		return nil // columnTypes has found it
	}
	object := d.columnObject(name)
	var unique, eachPartition, partitioned bool
	err := d.Pool.QueryRow(ctx, uniqueIndexed, d.Table.Identifier(), name).Scan(&unique, &eachPartition, &partitioned)
	if err != nil {
		return Findings{unknown(CodeOrder, object, err)}
	}
	var n numbering
	err = d.Pool.QueryRow(ctx, sequencesOf, d.Table.Identifier(), name).
		Scan(&n.sequences, &n.name, &n.cache, &n.increment, &n.cycles, &n.identity)
	if err != nil {
		return Findings{unknown(CodeOrder, object, err)}
	}
	if n.sequences > 1 {
		if n.oneSequence, err = d.oneSequence(ctx, name); err != nil {
			return Findings{unknown(CodeOrder, object, err)}
		}
	}
	indexed := unique || partitioned && eachPartition
	if indexed && !d.isOneOfSeveral {
		if found := d.seqLimit(ctx, name); found != nil {
			return found
		}
	}
	found := d.judge(n, indexed)
	if unique || !partitioned || found.Level == Error {
		return Findings{found}
	}
	repeated, err := d.repeatedSeq(ctx, name)
	switch {
	case err != nil:
		return Findings{found, unknown(CodeOrder, object, err)}
	case repeated == nil:
		return Findings{found}
	case found.Level == OK:
		return Findings{*repeated}
	}
	return Findings{found, *repeated}
}

// seqLimit looks for a row with a number that no row may have. Without one it finds nothing.
func (d *database) seqLimit(ctx context.Context, name string) Findings {
	var seq *int64
	const lowest = `SELECT pg_catalog.min(%[1]s)::bigint FROM %[2]s WHERE %[1]s = ANY ($1::bigint[])`
	err := d.Pool.QueryRow(ctx, fmt.Sprintf(lowest,
		outboxtable.Quote(name), d.Table.Identifier()), outboxtable.SeqLimits).Scan(&seq)
	switch {
	case err != nil:
		return Findings{unknown(CodeOrder, d.columnObject(name), err)}
	case seq == nil:
		return nil
	}
	return Findings{
		failed(CodeOrder, d.columnObject(name), "%s", d.Table.SeqLimit(*seq)).with("%s", d.Table.RenumberSQL(*seq)),
	}
}

// judge judges the numbering of the rows.
func (d *database) judge(n numbering, indexed bool) Finding {
	name := d.Table.Columns.Sequence
	object, column := d.columnObject(name), outboxtable.Quote(name)
	switch {
	case n.sequences == 0 && !indexed:
		return failed(CodeOrder, object, "column %s may have the same value in many rows, and a read from one value "+
			"to the next "+
			"would skip rows: use a sequence (GENERATED ALWAYS AS IDENTITY), and make the column unique", name).
			with("%s", d.uniqueIndex(column))
	case n.sequences == 0:
		return passed(CodeOrder, object, "column %s is unique, of a partitioned table in each partition", name)
	case n.sequences > 1:
		return failed(CodeOrder, object, "partitions of %s take %s from %d sequences, so rows of different "+
			"partitions may have "+
			"the same value and have no order: use one sequence for all", d.tableName(), name, n.sequences).
			with("%s", n.oneSequence)
	case *n.cycles || *n.increment < 1:
		return failed(CodeOrder, object, "sequence %s does not count upwards only (INCREMENT %d, CYCLE %v), so an "+
			"event can have a lower %s than an earlier one",
			*n.name, *n.increment, *n.cycles, name).with("ALTER SEQUENCE %s INCREMENT 1 NO CYCLE;", *n.name)
	case *n.cache > 1:
		return failed(CodeOrder, object, "sequence %s has CACHE %d, so each connection reserves that many values, "+
			"and a later event of another connection can have a lower number", *n.name, *n.cache).
			with("%s", uncached(d.Table.Identifier(), column, n))
	case !indexed:
		return degraded(CodeOrder, object, "column %s has no unique index, so a service may write a value twice, "+
			"and recovery, replay and retention read the whole table", name).with("%s", d.uniqueIndex(column))
	}
	return passed(CodeOrder, object, "column %s numbers the rows in the order in which one writer writes them: "+
		"reads of the table keep it", name)
}

func uncached(table, column string, n numbering) string {
	if n.identity {
		return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET CACHE 1;", table, column)
	}
	return fmt.Sprintf("ALTER SEQUENCE %s CACHE 1;", *n.name)
}

// logged checks that the log has every row of the table under the table's own name.
func (d *database) logged(ctx context.Context) Findings {
	if d.columns == nil {
		return nil
	}
	unlogged, err := outboxtable.FindUnlogged(ctx, d.Pool, d.Publication, d.Table)
	if err != nil {
		return Findings{unknown(CodeLogged, d.tableObject(), err)}
	}
	var found Findings
	for _, u := range unlogged {
		found = append(found, d.unloggedTable(u))
	}
	rows, err := d.Pool.Query(ctx, `
		WITH RECURSIVE tree AS (
			SELECT c.oid, c.relkind, c.relkind = 'p' AS partitioned FROM pg_class c
			WHERE c.oid = to_regclass($1)
			UNION ALL
			SELECT c.oid, c.relkind, t.partitioned FROM tree t
			JOIN pg_inherits i ON i.inhparent = t.oid JOIN pg_class c ON c.oid = i.inhrelid
		)
		SELECT oid::regclass::text, CASE
			WHEN partitioned AND relkind = 'f' THEN 'is a foreign table'
			WHEN NOT partitioned AND oid <> to_regclass($1) THEN 'inherits' END
		FROM tree`, d.Table.Identifier())
	if err != nil {
		return Findings{unknown(CodeLogged, d.tableObject(), err)}
	}
	var name string
	var why *string
	_, err = pgx.ForEachRow(rows, []any{&name, &why}, func() error {
		switch {
		case why == nil:
		case *why == "inherits":
			found = append(found, degraded(CodeLogged, "table "+name, "table %s inherits from %s, and a publication "+
				"streams its rows under its own name, so they are not events: write events to %[2]s, or make that a "+
				"partitioned table",
				name, d.tableName()))
		default:
			found = append(found, failed(CodeLogged, "partition "+name,
				"partition %s %s, so no row of it is streamed", name, *why).
				with("ALTER TABLE %s DETACH PARTITION %s;", d.Table.Identifier(), name))
		}
		return nil
	})
	if err != nil {
		return Findings{unknown(CodeLogged, d.tableObject(), err)}
	}
	if found == nil {
		found = Findings{passed(CodeLogged, d.tableObject(), "every row of %s is in the log", d.tableName())}
	}
	return found
}

// unloggedTable is the finding of an unlogged table or partition. One of several tables does not
// hold up the others: a relay that runs notes it, and publishes its rows once it is logged.
func (d *database) unloggedTable(u outboxtable.Unlogged) Finding {
	object := d.tableObject()
	if u.IsPartition {
		object = "partition " + u.Table
	} else {
		d.isExcluded = u.IsInPublication
	}
	found := failed(CodeLogged, object, "%s", u.Explanation())
	if d.isOneOfSeveral && !u.IsPartition {
		found.Level = Degraded
	}
	if statement := u.Statement(); statement != "" {
		found = found.with("%s;", statement)
	}
	return found
}
