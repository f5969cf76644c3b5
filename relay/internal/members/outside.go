package members

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// noteRelations stores the relation that each of the tables of a slot is, and returns them. A table
// that is missing keeps the relation that it was.
func noteRelations(
	ctx context.Context, pool *pgxpool.Pool, fence slot.Fence, tables []string,
) (relations []uint32, err error) {
	schemas, names := parseNames(tables)
	err = pool.QueryRow(ctx, `
		WITH now AS (
			SELECT c.slot_name, ARRAY(
				SELECT coalesce(r.oid, c.table_relations[t.n], 0)
				FROM unnest($4::text[], $5::text[]) WITH ORDINALITY AS t (schema, name, n)
				LEFT JOIN (pg_class r JOIN pg_namespace s ON s.oid = r.relnamespace)
					ON s.nspname = t.schema AND r.relname = t.name AND r.relkind IN ('r', 'p')
				ORDER BY t.n)::oid[] AS relations
			FROM relay_checkpoints c WHERE `+slot.FenceSQL+`),
		noted AS (
			UPDATE relay_checkpoints c SET table_relations = now.relations FROM now
			WHERE c.slot_name = now.slot_name AND c.table_relations IS DISTINCT FROM now.relations)
		SELECT relations FROM now`,
		fence.Args(schemas, names)...).Scan(&relations)
	if errors.Is(err, pgx.ErrNoRows) {
		err = slot.ErrFenced
	}
	if err != nil {
		return nil, fmt.Errorf("note the relations of the tables of slot %s: %w", fence.Slot, err)
	}
	return relations, nil
}

// Outside finds tables of a slot with several that the publication does not stream now.
type Outside struct {
	Pool   *pgxpool.Pool
	Slot   string
	Table  outboxtable.Table // describes all
	Tables []string          // of the slot, by their numbers
}

// Find returns the table with a name, or nil if no table has it. exists then reports whether the
// table may exist under another name.
func (o *Outside) Find(ctx context.Context, name string) (table *outboxtable.Table, exists bool, err error) {
	number := slices.Index(o.Tables, name)
	if number < 0 {
		return nil, true, nil
	}
	schema, relation := outboxtable.ParseName(name)
	var partitioned bool
	var columns []string
	err = o.Pool.QueryRow(ctx, `
		SELECT c.relkind = 'p', `+columnsSQL+`
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')`, schema, relation).
		Scan(&partitioned, &columns)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		exists, err = o.isRenamed(ctx, number)
		return nil, exists, err
	case err != nil:
		return nil, true, fmt.Errorf("look for table %s: %w", name, err)
	}
	one := o.Table.One(schema, relation, int64(number)).Resolve(columns)
	one.Only = !partitioned
	return &one, true, nil
}

// Number returns the number of a table whose rows [Outside.Find] finds, now or once the table has
// its name again. It returns [outbox.NoNumber] if the relation is gone, or another one has the
// name.
func (o *Outside) Number(ctx context.Context, relation uint32, schema, name string) (int64, error) {
	number := int64(slices.Index(o.Tables, outboxtable.Table{Schema: schema, Name: name}.String()))
	if number < 0 {
		return outbox.NoNumber, nil
	}
	var exists bool
	err := o.Pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_class r WHERE r.oid = $1) AND NOT EXISTS (
			SELECT FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
			WHERE n.nspname = $2 AND r.relname = $3 AND r.relkind IN ('r', 'p') AND r.oid <> $1)`,
		relation, schema, name).Scan(&exists)
	switch {
	case err != nil:
		return outbox.NoNumber, fmt.Errorf("look for relation %d of table %s.%s: %w", relation, schema, name, err)
	case !exists:
		return outbox.NoNumber, nil
	}
	return number, nil
}

// isRenamed reports whether the relation of a table may exist.
func (o *Outside) isRenamed(ctx context.Context, number int) (renamed bool, err error) {
	err = o.Pool.QueryRow(ctx, `
		SELECT coalesce(c.table_relations[$2], 0) = 0
			OR EXISTS (SELECT FROM pg_class r WHERE r.oid = c.table_relations[$2])
		FROM relay_checkpoints c WHERE c.slot_name = $1`, o.Slot, number+1).Scan(&renamed)
	if err != nil {
		return true, fmt.Errorf("look for the relation of table %s: %w", o.Tables[number], err)
	}
	return renamed, nil
}
