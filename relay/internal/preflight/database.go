package preflight

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
)

// Database is the database of a relay, with the settings that it must fit.
type Database struct {
	Pool *pgxpool.Pool
	// OpenStream opens a replication connection like the relay.
	OpenStream  func(context.Context) (*replication.Stream, error)
	Slot        string
	Publication string
	Table       outboxtable.Table
	Emitted     string // prefix of emitted messages that are events; empty: none are
	Removes     bool   // the relay removes delivered rows by age
	Defers      bool   // the events of a destination that is unavailable for long
	RowsStay    deferral.RowsStay
	IDUnique    bool // the operator asserts that no two events share an id
	FIFO        bool // a destination uses the event id for deduplication
	StartsSince bool // the first start publishes rows created since a time
}

// database is a [Database] during its check. Each requirement stores the facts that later ones
// need.
type database struct {
	Database
	role       string            // quoted, for GRANT statements
	replicates bool              // the role may replicate
	walSenders int               // max_wal_senders
	version    int               // major version of the server
	oid        uint32            // of the outbox table
	leaves     []string          // its partitions with rows, quoted; nil if it is not partitioned
	columns    map[string]column // of the outbox table; nil if it cannot be read
	isExcluded bool              // the publication excludes the table only because it is unlogged
	// isOneOfSeveral says that other tables have the same settings.
	isOneOfSeveral bool
}

// requirements returns the requirements in the order of their checks. The first one is the
// connection.
func (d *database) requirements() []Requirement {
	server, table := databaseOf(d.Pool), "table "+d.tableName()
	if d.Table.IsSeveral() { // Check checks each table
		return []Requirement{
			{server, d.connection},
			{server, d.server},
			{server, d.replicationRole},
			{server, d.serverPrivileges},
			{server, d.connectionLimits},
			{server, d.replicationConnection},
			{"the relay's tables", d.relayTables},
			{server, d.searchPath},
			{"slot " + d.Slot, d.replicationSlot},
			{server, d.asynchronous},
		}
	}
	return []Requirement{
		{server, d.connection},
		{server, d.server},
		{server, d.replicationRole},
		{server, d.serverPrivileges},
		{server, d.connectionLimits},
		{server, d.replicationConnection},
		{table, d.outboxTable},
		{table, d.mappedColumns},
		{table, d.proposal},
		{table, d.columnTypes},
		{table, d.uniqueID},
		{table, d.nullableID},
		{table, d.numberedID},
		{table, d.ordered},
		{table, d.guarantees},
		{table, d.emitted},
		{table, d.logged},
		{table, d.rowSecurity},
		{"publication " + d.Publication, d.publication},
		{"publication " + d.Publication, d.generatedColumns},
		{table, d.replicaIdentity},
		{table, d.updates},
		{"the relay's tables", d.relayTables},
		{server, d.searchPath},
		{"slot " + d.Slot, d.replicationSlot},
		{table, d.retention},
		{table, d.deferral},
		{server, d.asynchronous},
	}
}

// Check checks the database. It ends early if no connection is possible, or if the connection is
// lost.
func (d Database) Check(ctx context.Context, progress Progress) Findings {
	checked := &database{Database: d}
	var all Findings
	for i, r := range checked.requirements() {
		found := r.Run(ctx, progress)
		all = append(all, found...)
		if err := found.Err(); err != nil && (i == 0 || OnlyTransient(err) && !checked.reachable(ctx)) {
			return all
		}
	}
	if d.Table.IsSeveral() {
		all = append(all, checked.checkSeveral(ctx, progress)...)
	}
	return all
}

func databaseOf(pool *pgxpool.Pool) string { return control.Database(&pool.Config().ConnConfig.Config) }

func (d *database) reachable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return d.Pool.Ping(ctx) == nil
}

func (d *database) tableName() string { return d.Table.String() }

func (d *database) tableObject() string { return "table " + d.tableName() }
