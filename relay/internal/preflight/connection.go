package preflight

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// connection checks that the relay reaches the database, and without a pooler.
func (d *database) connection(ctx context.Context) Findings {
	const object = "database"
	conn, err := d.Pool.Acquire(ctx)
	if err != nil {
		return Findings{d.unreachable(err)}
	}
	defer conn.Release()
	var pid uint32
	const self = `SELECT pg_catalog.quote_ident(current_user), pg_backend_pid()`
	if err := conn.QueryRow(ctx, self).Scan(&d.role, &pid); err != nil {
		return Findings{d.unreachable(err)}
	}
	config := conn.Conn().Config()
	if pid != conn.Conn().PgConn().PID() {
		return Findings{d.pooled("the server at %s:%d is not the one that answers", config.Host, config.Port)}
	}
	return Findings{passed(CodeDatabase, object, "connected to database %s at %s:%d as %s",
		config.Database, config.Host, config.Port, d.role)}
}

func (d *database) unreachable(err error) Finding {
	if postgres.IsPooler(err) {
		return d.pooled("cannot connect, check DATABASE_URL: %v", err)
	}
	return unknown(CodeDatabase, "database", fmt.Errorf("cannot connect, check DATABASE_URL: "+
		"%w", postgres.Explain(err)))
}

// pooled is the finding of a connection pooler. It is never transient.
func (d *database) pooled(format string, args ...any) Finding {
	return failed(CodePooler, "database", "database: "+format+": "+postgres.UseDirectAddress, args...)
}

// replicationConnection opens a replication connection like the relay, and asks for the server's
// identity.
func (d *database) replicationConnection(ctx context.Context) Findings {
	const object = "replication connection"
	if !d.replicates { // replicationRole has found it
		return nil
	}
	stream, err := d.OpenStream(ctx)
	if err != nil {
		return Findings{d.unreplicated(ctx, err)}
	}
	defer stream.Close()
	if _, err := stream.SystemIdentifier(ctx); err != nil {
		return Findings{d.unreplicated(ctx, err)}
	}
	pid, err := stream.BackendPID(ctx)
	switch {
	case err != nil:
		return Findings{d.unreplicated(ctx, err)}
	case pid != stream.PID():
		return Findings{d.pooled("the walsender is not the process that accepted the connection")}
	}
	return Findings{passed(CodeReplication, object, "a replication connection can be opened")}
}

// unreplicated explains why a replication connection failed where an ordinary one did not.
func (d *database) unreplicated(ctx context.Context, err error) Finding {
	const object = "replication connection"
	var refused *pgconn.PgError
	switch {
	case postgres.IsPooler(err):
		return d.pooled("%v", err)
	case !errors.As(err, &refused):
		return unknown(CodeReplication, object, postgres.Explain(err))
	}
	switch refused.Code {
	// The parameter replication did not arrive, and the server parses the command as SQL.
	case pgerrcode.SyntaxError:
		return d.pooled("the server did not receive the parameter replication (%s)", refused.Message)
	case pgerrcode.TooManyConnections:
		return d.unconnected(ctx, refused, err)
	case pgerrcode.InvalidAuthorizationSpecification:
		return unknown(CodeReplication, object, fmt.Errorf("%w. pg_hba.conf needs a line that accepts role %s from "+
			"this host, for database %s or all: the keyword replication matches physical standbys only",
			postgres.Explain(err), d.role, outboxtable.Quote(d.Pool.Config().ConnConfig.Database)))
	}
	return unknown(CodeReplication, object, postgres.Explain(err))
}
