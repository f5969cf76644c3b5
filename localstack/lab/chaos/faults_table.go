package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// tableFaults are changes by the owner of the table. None of them may lose an event.
var tableFaults = []fault{
	tableJoins,
	{name: "crash: table joins", weight: 8, repeats: true, skips: true, needs: hasSeveral, do: whileTableJoins},
	{name: "publication restated", weight: 2, repeats: true, refuses: acceptLossCommand, do: restatePublication},
	{name: "rows deleted at once", weight: 3, needsLog: true, needs: keepsRows, do: deleteAtOnce},
	{name: "table swapped", weight: 2, repeats: true, strands: true, needsLog: true, needs: isSwappable, do: swapTable},
	{name: "partition attached with rows", weight: 4, repeats: true, needs: isPartitioned, do: attachPartition},
	{name: "column renamed", weight: 2, repeats: true, refuses: "RELAY_COLUMN_PAYLOAD", do: tableFor(
		`ALTER TABLE {table} RENAME COLUMN {payload} TO renamed`,
		`ALTER TABLE {table} RENAME COLUMN renamed TO {payload}`)},
	{name: "row-level security", weight: 2, repeats: true, refuses: "row security of table", do: tableFor(
		`ALTER TABLE {table} ENABLE ROW LEVEL SECURITY`, `ALTER TABLE {table} DISABLE ROW LEVEL SECURITY`)},
	{name: "read-only", weight: 2, repeats: true, do: readOnly},
}

// hasSlot excludes runs whose first events are older than the slot and thus in no log.
func hasSlot(p *Plan) bool { return !p.ColdStart }

// keepsRows also excludes runs whose writers delete every row, and those of several tables, because
// the publication lacks one of them.
func keepsRows(p *Plan) bool { return hasSlot(p) && !p.shape().deletes && p.shape().tables == nil }

func isPartitioned(p *Plan) bool { return p.Load.Partitioned }

// isSwappable excludes runs whose first events are only in the table, because they are older than
// the slot.
func isSwappable(p *Plan) bool { return p.Shape == own && !p.Load.Partitioned && hasSlot(p) }

// restatePublication writes the publication's catalog row without a change. If the table does not
// prove that nothing is missing, the operator accepts the loss, and nothing may be lost.
func restatePublication(ctx context.Context, a *act) error {
	err := a.exec(ctx, `ALTER PUBLICATION outbox_pub SET (publish = 'insert')`)
	if err != nil || a.shape.repairs {
		return err
	}
	pause(ctx, a.within(3*time.Second)) // a relay mostly notices, and ends, before the operator does
	return a.acceptLoss(ctx)
}

// deleteAtOnce writes events whose rows are deleted in the same transaction. Only the log has them.
func deleteAtOnce(ctx context.Context, a *act) error {
	for range 1 + a.random.IntN(5) {
		o, err := a.writeOpen(ctx)
		if err != nil || o == nil {
			return err
		}
		if _, err := o.conn.Exec(ctx, a.shape.sql(`DELETE FROM {table} WHERE {id} = $1`), o.event.ID); err != nil {
			return o.conn.Close(ctx) // the server is down
		}
		o.commit(ctx)
		pause(ctx, a.within(100*time.Millisecond))
	}
	return nil
}

// swapTable replaces the outbox table by an empty one, as a team does that starts a new table each
// year. The old table keeps its rows under another name.
func swapTable(ctx context.Context, a *act) error {
	old := fmt.Sprintf("outbox_events_%d", a.random.Uint32())
	return a.inTransaction(ctx, []string{
		`SET LOCAL lock_timeout = '1s'`,
		`LOCK outbox_events`,
		`ALTER TABLE outbox_events RENAME TO ` + old,
		`CREATE TABLE outbox_events (LIKE ` + old + ` INCLUDING ALL)`,
		`ALTER TABLE outbox_events OWNER TO ` + writerRole,
		`SELECT setval(pg_get_serial_sequence('outbox_events', 'seq'), nextval(pg_get_serial_sequence('` + old +
			`', 'seq')))`,
		fmt.Sprintf(recordInserts, "outbox_events"),
		grantOutbox(),
		`ALTER PUBLICATION outbox_pub SET TABLE outbox_events`,
	})
}

// attachPartition fills a table and attaches it as a partition. The log has its rows only under the
// name of that table, which the publication does not include.
func attachPartition(ctx context.Context, a *act) error {
	part := a.random.Int32()
	table := fmt.Sprintf("outbox_events_%d", part)
	var events []checker.Event
	for range 1 + a.random.IntN(20) {
		events = append(events, a.eventOfNewAggregate())
	}
	err := pgx.BeginFunc(ctx, a.admin, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx,
			`CREATE TABLE `+table+` (LIKE outbox_events INCLUDING ALL);
				ALTER TABLE `+table+` OWNER TO `+writerRole); err != nil {
			return err
		}
		for _, e := range events {
			if _, err := tx.Exec(ctx, `
				WITH row AS (
					INSERT INTO `+table+` (id, aggregate_type, aggregate_id, event_type, payload, part)
					VALUES ($1, $2, $3, $4, $5::text::json, $6) RETURNING id, seq, payload)
				INSERT INTO committed SELECT id, seq, payload::text FROM row`,
				e.ID, e.AggregateType, e.AggregateID, e.Type, e.Payload, part); err != nil {
				return err
			}
		}
		return nil
	})
	if serverUnavailable(err) {
		a.note = missed
		return nil
	}
	a.recorder.wrote(checker.Unknown, events) // a crash may come before the commit is on disk
	if err != nil {
		return err
	}
	pause(ctx, a.within(time.Second)) // sometimes the horizon passes their transaction meanwhile
	return a.exec(ctx, fmt.Sprintf(attach, table, part))
}

// attach gives the table %[1]s the columns that [writer.alter] has changed meanwhile, and attaches
// it for the value %[2]d.
const attach = `DO $$ DECLARE extra text; BEGIN
	LOCK TABLE outbox_events IN SHARE UPDATE EXCLUSIVE MODE;
	FOREACH extra IN ARRAY ARRAY['extra_0', 'extra_1', 'extra_2'] LOOP
		EXECUTE 'ALTER TABLE %[1]s DROP COLUMN IF EXISTS ' || extra;
		IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'outbox_events'::regclass AND attname = extra) THEN
			EXECUTE 'ALTER TABLE %[1]s ADD COLUMN ' || extra || $sql$ text DEFAULT 'some'$sql$;
		END IF;
	END LOOP;
	ALTER TABLE outbox_events ATTACH PARTITION %[1]s FOR VALUES IN (%[2]d);
END $$`

// tableFor changes the table for a while. A relay may end because of it, and is started again.
func tableFor(change, restore string) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		if err := a.exec(ctx, change); err != nil {
			return err
		}
		pause(ctx, a.within(1500*time.Millisecond))
		return a.exec(ctx, restore)
	}
}

// readOnly makes the database read-only, as managed services do when the disk fills up.
func readOnly(ctx context.Context, a *act) error {
	if err := a.exec(ctx, `ALTER DATABASE `+a.database+` SET default_transaction_read_only = on`); err != nil {
		return err
	}
	if err := terminate(`true`)(ctx, a); err != nil { // the setting applies to new sessions
		return err
	}
	pause(ctx, a.within(2*time.Second))
	return a.inTransaction(ctx, []string{`SET TRANSACTION READ WRITE`, `ALTER DATABASE ` + a.database +
		` RESET default_transaction_read_only`})
}

// inTransaction runs statements as superuser in one transaction. If the server is down, it notes
// that the fault was missed.
func (a *act) inTransaction(ctx context.Context, statements []string) error {
	err := pgx.BeginFunc(ctx, a.admin, func(tx pgx.Tx) error {
		for _, statement := range statements {
			if _, err := tx.Exec(ctx, a.shape.sql(statement)); err != nil {
				return fmt.Errorf("%.60s: %w", statement, err)
			}
		}
		return nil
	})
	if serverUnavailable(err) || hasCode(err, "55P03") { // lock_not_available
		a.note = missed
		return nil
	}
	return err
}

func serverUnavailable(err error) bool { return err != nil && isConnectionError(err) }

// partitioned replaces the outbox table by a partitioned one. Its writers guarantee that ids are
// unique.
const partitioned = `
	DROP TABLE outbox_events;
	CREATE SEQUENCE outbox_seq;
	CREATE TABLE outbox_events (
		id uuid NOT NULL, seq bigint NOT NULL DEFAULT nextval('outbox_seq'), aggregate_type text NOT NULL,
		aggregate_id text NOT NULL,
		event_type text NOT NULL, payload json NOT NULL, headers jsonb NOT NULL DEFAULT '{}',
		xid xid8 NOT NULL DEFAULT pg_current_xact_id(), created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
		part integer NOT NULL DEFAULT 0
	) PARTITION BY LIST (part);
	CREATE UNIQUE INDEX ON outbox_events (seq, part);
	CREATE INDEX ON outbox_events (xid);
	CREATE INDEX ON outbox_events (id);
	CREATE TABLE outbox_events_0 PARTITION OF outbox_events FOR VALUES IN (0);
	ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`
