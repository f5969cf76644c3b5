// Package preflight finds everything that would stop a relay, before it starts: one function a requirement, all
// failures at once, each with what to do.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// minVersion is the first that copies a publication's options the way the relay needs them.
const minVersion = 15

// Database is what a relay needs of its database.
type Database struct {
	Pool        *pgxpool.Pool
	Slot        string
	Publication string
	Table       pgoutput.Table
	Removes     bool // delivered rows, once they are old
}

// Check returns every requirement that the database does not meet, joined, or nil.
func (d Database) Check(ctx context.Context) error {
	if err := d.Pool.Ping(ctx); err != nil {
		return fmt.Errorf("database: cannot connect, check DATABASE_URL: %w", postgres.Explain(err)) // nothing else could be asked
	}
	var problems []error
	for _, requirement := range []func(context.Context) error{
		d.server, d.role, d.outboxTable, d.publication, d.relayTables, d.replicationSlot, d.retention,
	} {
		if err := requirement(ctx); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func (d Database) server(ctx context.Context) error {
	var version int
	var walLevel, encoding string
	var standby bool
	err := d.Pool.QueryRow(ctx, `
		SELECT current_setting('server_version_num')::integer / 10000, current_setting('wal_level'),
		       current_setting('server_encoding'), pg_is_in_recovery()`).Scan(&version, &walLevel, &encoding, &standby)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	var problems []error
	if version < minVersion {
		problems = append(problems, fmt.Errorf("server: it is Postgres %d, version %d or newer is needed", version, minVersion))
	}
	if walLevel != "logical" {
		problems = append(problems, fmt.Errorf("server: wal_level is %s: set it to logical and restart the server "+
			"(on RDS: rds.logical_replication = 1 in the parameter group, and a reboot)", walLevel))
	}
	if encoding != "UTF8" {
		problems = append(problems, fmt.Errorf("server: the encoding of the database is %s, messages need UTF8", encoding))
	}
	if standby {
		problems = append(problems, errors.New("server: it is a standby: name the primary in DATABASE_URL"))
	}
	return errors.Join(problems...)
}

func (d Database) role(ctx context.Context) error {
	var role string
	var may bool
	err := d.Pool.QueryRow(ctx, `
		SELECT current_user, bool_or(r.rolreplication OR r.rolsuper)
		    OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(g.oid, 'USAGE'))
		FROM pg_roles r WHERE r.rolname = current_user`).Scan(&role, &may)
	if err != nil {
		return fmt.Errorf("role: %w", err)
	}
	if !may {
		return fmt.Errorf("role: %s may not replicate: ALTER ROLE %[1]s REPLICATION (on RDS: GRANT rds_replication TO %[1]s)",
			pgx.Identifier{role}.Sanitize())
	}
	return nil
}

func (d Database) tableName() string { return d.Table.Schema + "." + d.Table.Name }

func (d Database) identifier() string { return pgx.Identifier{d.Table.Schema, d.Table.Name}.Sanitize() }

// outboxTable checks that the table is there, may be read, and has the columns that the settings name.
func (d Database) outboxTable(ctx context.Context) error {
	var exists, readable bool
	err := d.Pool.QueryRow(ctx, `
		SELECT to_regclass($1) IS NOT NULL, coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false)`,
		d.identifier()).Scan(&exists, &readable)
	switch {
	case err != nil:
		return fmt.Errorf("table %s: %w", d.tableName(), err)
	case !exists:
		return fmt.Errorf("table %s does not exist: create it with relay migrate, or name yours in RELAY_TABLE", d.tableName())
	case !readable:
		return fmt.Errorf("table %s may not be read: GRANT SELECT ON %s TO the relay's role", d.tableName(), d.identifier())
	}
	rows, err := d.Pool.Query(ctx, `
		SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`, d.identifier())
	if err != nil {
		return fmt.Errorf("table %s: %w", d.tableName(), err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("table %s: %w", d.tableName(), err)
	}
	var problems []error
	settings := d.Table.Columns.Settings()
	for _, setting := range slices.Sorted(maps.Keys(settings)) {
		if column := settings[setting]; column != "" && !slices.Contains(columns, column) {
			problems = append(problems, fmt.Errorf("table %s has no column %q: name the right one in %s, or set that to nothing if the "+
				"table needs none (it has %s)", d.tableName(), column, setting, strings.Join(columns, ", ")))
		}
	}
	if len(problems) == 0 {
		problems = append(problems, d.columnTypes(ctx))
	}
	return errors.Join(problems...)
}

// columnTypes checks the columns that must be of a kind: recovery pages through one, so that a row without it, or two with the
// same, would be passed over, and compares the other.
func (d Database) columnTypes(ctx context.Context) error {
	c := d.Table.Columns
	rows, err := d.Pool.Query(ctx, `
		SELECT attname, format_type(atttypid, NULL), attnotnull AND (atthasdef OR attidentity <> '') FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attname = ANY ($2)`, d.identifier(), []string{c.Sequence, c.XID, c.Payload})
	if err != nil {
		return fmt.Errorf("table %s: %w", d.tableName(), err)
	}
	var problems []error
	var column, dataType string
	var filled bool // by the database, in every row
	_, err = pgx.ForEachRow(rows, []any{&column, &dataType, &filled}, func() error {
		switch {
		case column == c.Sequence && (dataType != "bigint" && dataType != "integer" || !filled):
			problems = append(problems, fmt.Errorf("column %s (RELAY_COLUMN_SEQUENCE) is %s, and the database must number every row by it: make it "+
				"bigint GENERATED ALWAYS AS IDENTITY", column, dataType))
		case column == c.XID && (dataType != "xid8" || !filled):
			problems = append(problems, fmt.Errorf("column %s (RELAY_COLUMN_XID) is %s, and the database must fill it in every row: make it "+
				"xid8 NOT NULL DEFAULT pg_current_xact_id()", column, dataType))
		case column == c.Payload && dataType == "bytea":
			problems = append(problems, fmt.Errorf("column %s (RELAY_COLUMN_PAYLOAD) is bytea, a message is text: make it json or text", column))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("table %s: %w", d.tableName(), err)
	}
	return errors.Join(problems...)
}

// columns returns the columns that the relay reads.
func (d Database) columns() []string {
	var columns []string
	for _, column := range d.Table.Columns.Settings() {
		if column != "" {
			columns = append(columns, column)
		}
	}
	return columns
}

// publication checks that the publication streams, under the table's own name, every row with the columns that the relay
// reads. Others may be left out, as generated ones are.
func (d Database) publication(ctx context.Context) error {
	var exists, inserts, viaRoot, partitioned, holds, filtered bool
	err := d.Pool.QueryRow(ctx, `
		SELECT p.oid IS NOT NULL, coalesce(p.pubinsert, false), coalesce(p.pubviaroot, false),
		       coalesce(c.relkind = 'p' OR c.relispartition, false), t.pubname IS NOT NULL,
		       coalesce(t.rowfilter IS NOT NULL OR NOT t.attnames @> $5::name[], false)
		FROM (SELECT) AS one
		LEFT JOIN pg_publication p ON p.pubname = $1
		LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname AND t.schemaname = $2 AND t.tablename = $3
		LEFT JOIN pg_class c ON c.oid = to_regclass($4)`,
		d.Publication, d.Table.Schema, d.Table.Name, d.identifier(), d.columns()).Scan(&exists, &inserts, &viaRoot, &partitioned, &holds, &filtered)
	name := pgx.Identifier{d.Publication}.Sanitize()
	switch {
	case err != nil:
		return fmt.Errorf("publication %s: %w", d.Publication, err)
	case !exists:
		return fmt.Errorf("publication %s does not exist: CREATE PUBLICATION %s FOR TABLE %s WITH (publish = 'insert', "+
			"publish_via_partition_root = true), or name yours in RELAY_PUBLICATION", d.Publication, name, d.identifier())
	case partitioned && !viaRoot: // before what follows: the view lists the partitions in the table's place
		return fmt.Errorf("publication %s streams the partitions of %s under their own names: ALTER PUBLICATION %s SET "+
			"(publish_via_partition_root = true)", d.Publication, d.tableName(), name)
	case !holds:
		return fmt.Errorf("publication %s does not hold %s: ALTER PUBLICATION %s ADD TABLE %s", d.Publication, d.tableName(), name, d.identifier())
	case !inserts:
		return fmt.Errorf("publication %s does not publish inserts: ALTER PUBLICATION %s SET (publish = 'insert')", d.Publication, name)
	case filtered:
		return fmt.Errorf("publication %s leaves out rows of %s or columns that the relay reads: ALTER PUBLICATION %s SET TABLE %s",
			d.Publication, d.tableName(), name, d.identifier())
	}
	return nil
}

// relayTables checks that the relay may keep its checkpoint, its dead letters and how far a replay is.
func (d Database) relayTables(ctx context.Context) error {
	var problems []error
	for _, table := range []string{"relay_checkpoints", "outbox_dead_letters", "outbox_replays"} {
		var exists, writable bool
		err := d.Pool.QueryRow(ctx, `
			SELECT to_regclass($1) IS NOT NULL, coalesce(has_table_privilege(to_regclass($1), 'SELECT')
			   AND has_table_privilege(to_regclass($1), 'INSERT') AND has_table_privilege(to_regclass($1), 'UPDATE'), false)`,
			table).Scan(&exists, &writable)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("table %s: %w", table, err))
		case !exists:
			problems = append(problems, fmt.Errorf("table %s does not exist: run relay migrate", table))
		case !writable:
			problems = append(problems, fmt.Errorf("table %s may not be written: GRANT SELECT, INSERT, UPDATE ON %[1]s TO the relay's role", table))
		}
	}
	return errors.Join(problems...)
}

// replicationSlot checks that the slot is the relay's to use, or that there is room to make it.
func (d Database) replicationSlot(ctx context.Context) error {
	state, err := slot.LookUp(ctx, d.Pool, d.Slot)
	if err != nil {
		return err
	}
	if state.Exists {
		return state.Foreign(d.Slot)
	}
	var used, limit int
	err = d.Pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::integer`).Scan(&used, &limit)
	if err != nil {
		return fmt.Errorf("slot %s: %w", d.Slot, err)
	}
	if used >= limit {
		return fmt.Errorf("slot %s cannot be made: all %d of max_replication_slots are in use: drop one that nobody needs, or raise it", d.Slot, limit)
	}
	return nil
}
