package preflight

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
)

// Database is the database of a relay with the settings that it has to fit.
type Database struct {
	Pool *pgxpool.Pool
	// OpenStream opens a replication connection as the relay does.
	OpenStream  func(context.Context) (*replication.Stream, error)
	Slot        string
	Publication string
	Table       pgoutput.Table
	Removes     bool // delivered rows, once they are old
	IDUnique    bool // the operator says that no event id is used twice
	FIFO        bool // a destination takes the id of an event for that of its message
	StartsSince bool // the first start publishes rows from a moment on
}

// database is a [Database] that is being checked. A requirement leaves in it what those after it
// build on.
type database struct {
	Database
	role       string            // quoted; it stands in the statements that grant
	replicates bool              // may the role
	walSenders int               // max_wal_senders
	version    int               // of the server, the major one
	oid        uint32            // of the outbox table
	leaves     []string          // its partitions that hold rows, quoted; nil where it is not partitioned
	columns    map[string]column // of the outbox table; nil where it cannot be read
}

// requirements returns what is checked, in this order. The first one is to connect.
func (d *database) requirements() []Requirement {
	server, table := "the database", "table "+d.tableName()
	return []Requirement{
		{server, d.connection},
		{server, d.server},
		{server, d.replicationRole},
		{server, d.replicationConnection},
		{table, d.outboxTable},
		{table, d.mappedColumns},
		{table, d.columnTypes},
		{table, d.uniqueID},
		{table, d.ordered},
		{table, d.logged},
		{table, d.rowSecurity},
		{"publication " + d.Publication, d.publication},
		{"publication " + d.Publication, d.generatedColumns},
		{table, d.replicaIdentity},
		{"the relay's tables", d.relayTables},
		{"slot " + d.Slot, d.replicationSlot},
		{table, d.retention},
		{server, d.asynchronous},
	}
}

// Check checks the database. It ends early where no connection can be made, or where the connection
// is lost.
func (d Database) Check(ctx context.Context, progress Progress) Findings {
	checked := &database{Database: d}
	var all Findings
	for i, r := range checked.requirements() {
		found := r.Run(ctx, progress)
		all = append(all, found...)
		if err := found.Err(); err != nil && (i == 0 || OnlyTransient(err) && !checked.reachable(ctx)) {
			break
		}
	}
	return all
}

func (d *database) reachable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return d.Pool.Ping(ctx) == nil
}

func (d *database) tableName() string { return d.Table.String() }

func (d *database) tableObject() string { return "table " + d.tableName() }
