package members

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// columnsSQL is an expression for the names of the columns of the relation c.
const columnsSQL = `ARRAY(
		SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)`

// streamed lists the tables with some names of which the publication streams every row.
const streamed = `
	SELECT n.nspname, c.relname, c.oid, c.relkind = 'p', ` + columnsSQL + `
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_publication p ON p.pubname = $1
	LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
	LEFT JOIN pg_publication_namespace s ON s.pnpubid = p.oid AND s.pnnspid = n.oid
	WHERE c.relname = ANY ($2) AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
	  AND (p.puballtables OR r.oid IS NOT NULL OR s.oid IS NOT NULL) AND r.prqual IS NULL
	  AND (p.pubviaroot OR c.relkind <> 'p')
	ORDER BY 1, 2`

// lookSeveral finds the tables that t describes, in the order of their names. They keep their
// numbers; [Number] gives one to each of the others.
func lookSeveral(ctx context.Context, pool *pgxpool.Pool, t outboxtable.Table) (outboxtable.Table, error) {
	rows, err := pool.Query(ctx, streamed, t.Several.Publication, t.Several.TableNames())
	if err != nil {
		return t, fmt.Errorf("look for the tables %s: %w", t, err)
	}
	var schema, name string
	var relation uint32
	var partitioned bool
	var columns []string
	var found []outboxtable.Table
	_, err = pgx.ForEachRow(rows, []any{&schema, &name, &relation, &partitioned, &columns}, func() error {
		if t.Has(schema, name) {
			one := t.One(schema, name, t.NumberOf(schema, name)).Resolve(slices.Clone(columns))
			one.Only, one.Relation = !partitioned, relation
			found = append(found, one)
		}
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("look for the tables %s: %w", t, err)
	}
	return t.WithTables(found), nil
}

// IsChanged reports whether the tables that t describes are other ones than those that it has. A
// table that took the name of another one is another table.
func IsChanged(ctx context.Context, pool *pgxpool.Pool, t outboxtable.Table) (bool, error) {
	now, err := Look(ctx, pool, t)
	return err == nil && (len(since(now, t)) > 0 || len(since(t, now)) > 0), err
}

// since returns the tables of now that before does not have.
func since(before, now outboxtable.Table) []outboxtable.Table {
	relations := map[string]uint32{}
	for _, one := range before.Each() {
		relations[one.String()] = one.Relation
	}
	return slices.DeleteFunc(slices.Clone(now.Each()), func(one outboxtable.Table) bool {
		relation, had := relations[one.String()]
		return had && relation == one.Relation
	})
}

func namesOf(t outboxtable.Table) []string {
	names := []string{}
	for _, one := range t.Each() {
		names = append(names, one.String())
	}
	return names
}

// Numbered returns t with the numbers that the tables have, by their names in the checkpoint row.
// Tables without a number have [outbox.NoNumber].
func Numbered(t outboxtable.Table, known []string) outboxtable.Table {
	if !t.IsSeveral() {
		return t
	}
	var tables []outboxtable.Table
	for _, one := range t.Each() {
		number := int64(slices.Index(known, one.String()))
		source := *one.Source
		source.Number = number
		one.Source = &source
		tables = append(tables, one)
	}
	slices.SortFunc(tables, func(a, b outboxtable.Table) int { return int(a.Source.Number - b.Source.Number) })
	return t.WithTables(tables)
}

// Former has the tables of a slot as its checkpoint row has them.
type Former struct {
	Tables []string // by their numbers; nil if the slot had one table
	Key    string   // the name of all, or of the only one
	// Fingerprint is the one to store with other tables.
	Fingerprint string
}

// Number stores a number for each of several tables that has none, for the relay that holds the
// slot. It returns the tables in the order of their numbers, and the names of all that the slot has
// had.
func Number(
	ctx context.Context, pool *pgxpool.Pool, fence slot.Fence, t outboxtable.Table, former Former,
) (numbered outboxtable.Table, all []string, err error) {
	all = append([]string{}, former.Tables...)
	if _, isTable := t.Named(former.Key); isTable && len(all) == 0 {
		all = append(all, former.Key) // its stored seqs are common seqs
	}
	for _, name := range t.Names() {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	if len(all) > outbox.MaxSources {
		return t, nil, fmt.Errorf("slot %s has had %d tables, and may have %d in all", fence.Slot, len(all),
			outbox.MaxSources)
	}
	if len(all) > len(former.Tables) || former.Key != t.Key() || former.Tables == nil {
		if err := note(ctx, pool, fence, t, all, former); err != nil {
			return t, nil, err
		}
	}
	if err := noteGuards(ctx, pool, fence, all); err != nil {
		return t, nil, err
	}
	relations, err := noteRelations(ctx, pool, fence, all)
	if err != nil {
		return t, nil, err
	}
	t = withFormer(Numbered(t, all), all, relations)
	return t, all, addColumns(ctx, pool, t.Several.Former)
}

// addColumns adds their columns to those of the tables that exist under any name.
func addColumns(ctx context.Context, pool *pgxpool.Pool, tables []outboxtable.Table) error {
	if len(tables) == 0 {
		return nil
	}
	at := map[uint32]int{}
	for i, one := range tables {
		at[one.Relation] = i
	}
	rows, err := pool.Query(ctx, `
		SELECT c.oid, `+columnsSQL+` FROM pg_class c WHERE c.oid = ANY ($1)`, slices.Collect(maps.Keys(at)))
	if err != nil {
		return fmt.Errorf("read the columns of former tables: %w", err)
	}
	var relation uint32
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&relation, &columns}, func() error {
		tables[at[relation]].Existing = slices.Clone(columns)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the columns of former tables: %w", err)
	}
	return nil
}

// withFormer returns t with the tables of the slot that are not among those of t. relations are the
// oids that the names had last.
func withFormer(t outboxtable.Table, names []string, relations []uint32) outboxtable.Table {
	isStreamed := map[uint32]bool{0: true} // 0 is no relation
	for _, one := range t.Each() {
		isStreamed[one.Relation] = true
	}
	t = t.WithTables(t.Each())
	t.Several.Former = nil
	for number, relation := range relations {
		if !isStreamed[relation] {
			schema, name := outboxtable.ParseName(names[number])
			one := t.One(schema, name, int64(number))
			one.Relation = relation
			t.Several.Former = append(t.Several.Former, one)
		}
	}
	return t
}

// note stores the tables of a slot. The rows of the relay's own tables follow the new name of all
// tables. A table that was the only one is accounted for under the name of its place in the
// publication.
func note(
	ctx context.Context, pool *pgxpool.Pool, fence slot.Fence, t outboxtable.Table, all []string, former Former,
) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE relay_checkpoints c SET tables = $4, outbox_table = $5,
			publication_fingerprint = nullif($6, '') WHERE `+slot.FenceSQL,
			fence.Args(all, t.Key(), former.Fingerprint)...)
		if err == nil && tag.RowsAffected() == 0 {
			err = slot.ErrFenced
		}
		if err != nil || former.Key == t.Key() {
			return err
		}
		for _, own := range []string{"outbox_dead_letters", "outbox_deferrals", "relay_checkpoints"} {
			_, err := tx.Exec(ctx, `UPDATE `+own+` SET outbox_table = $4
				WHERE slot_name IN ($1, $2) AND outbox_table = $3`,
				fence.Slot, outboxtable.GuardOf(fence.Slot), former.Key, t.Key())
			if err != nil {
				return err
			}
		}
		if former.Tables != nil {
			return nil
		}
		_, err = tx.Exec(ctx, named(t, `
			WITH {members}
			UPDATE relay_members k SET attached = m.attached FROM member m
			WHERE k.slot_name = $1 AND k.relation = m.relation AND k.accounted
			  AND k.attached <> m.attached AND k.attached NOT LIKE 'p%' AND m.attached LIKE 'p%' || k.attached
			  AND m.root = to_regclass($2)`), fence.Slot, former.Key)
		return err
	})
	if err != nil {
		return fmt.Errorf("note the tables of slot %s: %w", fence.Slot, err)
	}
	return nil
}

// Changes returns the names of the tables that came and of those that went since before.
func Changes(before, now outboxtable.Table) (came, went string) {
	names := func(tables []outboxtable.Table) string {
		return strings.Join(namesOf(now.WithTables(tables)), ", ")
	}
	return names(since(before, now)), names(since(now, before))
}

// Since returns now with the tables alone that came since before.
func Since(before, now outboxtable.Table) outboxtable.Table {
	return now.WithTables(since(before, now))
}

// OneOf returns the table of a command that names one. Where the slot has several, it is one of
// them.
func OneOf(t outboxtable.Table, publication, key string, tables []string) outboxtable.Table {
	if number := slices.Index(tables, t.String()); number >= 0 && !t.IsSeveral() {
		return t.Among(key, publication, int64(number))
	}
	return t
}

// parseNames returns the schemas and the names of tables.
func parseNames(tables []string) (schemas, names []string) {
	schemas, names = []string{}, []string{}
	for _, table := range tables {
		schema, name := outboxtable.ParseName(table)
		schemas, names = append(schemas, schema), append(names, name)
	}
	return schemas, names
}

// Existing returns those of the tables of a slot that exist; nil if the slot has one table.
func Existing(ctx context.Context, pool *pgxpool.Pool, tables []string) ([]string, error) {
	if tables == nil {
		return nil, nil
	}
	schemas, names := parseNames(tables)
	// by name, because to_regclass fails if the role may not use the schema
	rows, err := pool.Query(ctx, `
		SELECT t.given FROM unnest($1::text[], $2::text[], $3::text[]) AS t (given, schema, name)
		WHERE EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = t.schema AND c.relname = t.name AND c.relkind IN ('r', 'p'))
		ORDER BY 1`, tables, schemas, names)
	if err != nil {
		return nil, fmt.Errorf("look for the tables of the slot: %w", err)
	}
	existing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for the tables of the slot: %w", err)
	}
	return existing, nil
}
