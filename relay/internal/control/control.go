// Package control opens the control connections: everything that a relay asks the database, but for the
// stream.
package control

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// applicationName is that of the control connections. The replication connection has one of its own.
const applicationName = "outbox-relay"

// controlConnections are one for recovery and then for retention, one for the audit, one for parking, one for redriving, one for
// replaying, one for partitions, one for the watcher, and one so that the checkpoint and the fence never wait behind any of them. Each
// makes one statement at a time.
const controlConnections = 8

// Connect says how to reach the database. It is asked again for every connection, as a password may have changed.
type Connect = func(context.Context) (*pgx.ConnConfig, error)

// OpenPool returns a pool of control connections, which connects when it is first used.
func OpenPool(ctx context.Context, connect Connect) (*pgxpool.Pool, error) {
	return OpenPoolWith(ctx, connect, &Learned{})
}

func OpenPoolWith(ctx context.Context, connect Connect, learned *Learned) (*pgxpool.Pool, error) {
	first, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(first.ConnString())
	if err != nil {
		return nil, err
	}
	pinPool(config)
	config.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
		fresh, err := connect(ctx)
		if err != nil {
			return err
		}
		c.Config = fresh.Config
		postgres.PinSession(&c.Config, applicationName)
		return learned.pin(ctx, &c.Config)
	}
	config.AfterConnect = learned.settle
	return pgxpool.NewWithConfig(ctx, config)
}

// pinPool replaces what the connection string says of pools and statements. A control connection lives as long as its session,
// and one for each worker must be had.
func pinPool(config *pgxpool.Config) {
	config.MaxConns, config.MinConns, config.MinIdleConns = controlConnections, 0, 0
	config.MaxConnLifetime, config.MaxConnLifetimeJitter, config.MaxConnIdleTime = time.Hour, 0, 30*time.Minute
	config.HealthCheckPeriod, config.PingTimeout = time.Minute, 0
	postgres.PinStatements(config.ConnConfig)
}

// closeTimeout bounds how long [Close] waits.
const closeTimeout = time.Second

// Close closes a pool. It waits for a moment at most, and then leaves the rest to a goroutine:
// connections whose network is gone take a quarter of a minute.
func Close(pool *pgxpool.Pool) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		pool.Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
	}
}

// OpenConnection opens one connection with the same session as those of [OpenPool]. RESET ALL leaves it as it is.
func OpenConnection(ctx context.Context, connect Connect) (*pgx.Conn, error) {
	learned := &Learned{}
	conn, err := learned.dial(ctx, connect)
	if err != nil {
		return nil, err
	}
	if err := learned.settle(ctx, conn); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	if learned.path.Load() == nil {
		return conn, nil
	}
	_ = conn.Close(ctx)
	return learned.dial(ctx, connect) // with the path in its startup message
}

// Learned are the parameters of a session that follow from what earlier connections found. Connections that are opened at once each
// find the same.
type Learned struct {
	ofVersion atomic.Pointer[map[string]string] // nil until a server has told its version
	path      atomic.Pointer[string]            // nil until the tables of the relay are found
}

func (l *Learned) dial(ctx context.Context, connect Connect) (*pgx.Conn, error) {
	config, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	postgres.PinSession(&config.Config, applicationName)
	postgres.PinStatements(config)
	if err := l.pin(ctx, &config.Config); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// pin puts into the startup message of a connection what is known by now.
func (l *Learned) pin(ctx context.Context, conn *pgconn.Config) error {
	if err := l.PinVersion(ctx, conn); err != nil {
		return err
	}
	if path := l.path.Load(); path != nil {
		postgres.Pin(conn, map[string]string{searchPathName: *path})
	}
	return nil
}

// PinVersion puts the parameters that not every version has into the startup message.
func (l *Learned) PinVersion(ctx context.Context, conn *pgconn.Config) error {
	known := l.ofVersion.Load()
	if known == nil {
		found, err := postgres.ParametersOfVersion(ctx, conn)
		if err != nil {
			return err
		}
		known = &found
		l.ofVersion.Store(known)
	}
	postgres.Pin(conn, *known)
	return nil
}

// settle sets the search path of a connection that was opened before the path was known.
func (l *Learned) settle(ctx context.Context, conn *pgx.Conn) error {
	if known := l.path.Load(); known != nil && conn.Config().RuntimeParams[searchPathName] == *known {
		return nil
	}
	path, err := searchPath(ctx, conn)
	if err != nil || path == "" {
		return err
	}
	if _, err := conn.Exec(ctx, `SELECT set_config($1, $2, false)`, searchPathName, path); err != nil {
		return fmt.Errorf("set %s: %w", searchPathName, err)
	}
	l.path.Store(&path)
	return nil
}

const searchPathName = "search_path"

// homes are the schemas with the tables of a relay: first the one that the role's own search path finds, if it finds one.
const homes = `
	SELECT quote_ident(n.nspname), pg_table_is_visible(c.oid)
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relname = 'relay_checkpoints' AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
	ORDER BY 2 DESC, 1`

// searchPath returns the search path with the schema in which the relay keeps its own tables, or nothing while there is none. It is
// the schema that the role's search path finds; where that finds none, it is the only one that has them. To choose
// among several is for the operator.
func searchPath(ctx context.Context, conn *pgx.Conn) (string, error) {
	rows, err := conn.Query(ctx, homes)
	if err != nil {
		return "", fmt.Errorf("look for the relay's tables: %w", err)
	}
	var schemas []string
	var schema string
	var visible, found bool
	_, err = pgx.ForEachRow(rows, []any{&schema, &visible}, func() error {
		schemas, found = append(schemas, schema), found || visible
		return nil
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("look for the relay's tables: %w", err)
	case len(schemas) == 0:
		return "", nil
	case len(schemas) > 1 && !found:
		return "", operator.Needed("the relay's tables are in the schemas %s, and the search path of the role finds none of them: choose one with "+
			"DATABASE_URL, as in ?search_path=%s", strings.Join(schemas, ", "), schemas[0])
	}
	return schemas[0] + ", public", nil
}
