// Package control opens the control connections: the pool of ordinary connections over which the
// relay runs every statement except the stream.
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

	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// applicationName is the application_name of the control connections. The replication connection
// has another one.
const applicationName = "outbox-relay"

// controlConnections is the size of the pool. Recovery and later retention use one connection. The
// audit, parking, redriving, replaying, partitions, deferrals and the watcher use one each, and the
// passes of deferrals three. The last one ensures that the checkpoint and the fence never wait for
// any of them. Each user has one statement at a time.
const controlConnections = 12

// Connect returns the address and the credentials of the database. It is called again for every
// connection, because a password may have changed.
type Connect = func(context.Context) (*pgx.ConnConfig, error)

// OpenPool returns a pool of control connections outside of a session, which connects at its first
// use.
func OpenPool(ctx context.Context, connect Connect) (*pgxpool.Pool, error) {
	return openPool(ctx, connect, &Learned{}, poolOptions{pin: func(*pgconn.Config) {}, tracer: closeLarge{}})
}

// OpenPoolWith is [OpenPool] for a session, with the parameters that other connections have
// learned, and with the turns in which all connections of the session receive large messages. Each
// of its connections is to the primary: a standby would show the end of a table before its last
// rows.
func OpenPoolWith(
	ctx context.Context, connect Connect, learned *Learned, turns *largemessage.Turns,
) (*pgxpool.Pool, error) {
	return openPool(ctx, connect, learned, poolOptions{turns, postgres.RequirePrimary, closeLarge{}})
}

// poolOptions are the differences between the pools.
type poolOptions struct {
	turns  *largemessage.Turns
	pin    func(*pgconn.Config) // changes the settings of each connection
	tracer pgx.QueryTracer      // of the pool and of its connections
}

func openPool(
	ctx context.Context, connect Connect, learned *Learned, options poolOptions,
) (*pgxpool.Pool, error) {
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
		postgres.PinRole(&c.Config)
		options.pin(&c.Config)
		watchLarge(c, options.turns)
		return learned.pin(ctx, &c.Config)
	}
	config.AfterConnect, config.ConnConfig.Tracer = learned.settle, options.tracer
	return pgxpool.NewWithConfig(ctx, config)
}

// pinPool overrides the settings of pools and statements in the connection string. A control
// connection lives as long as its session, and each worker needs one.
func pinPool(config *pgxpool.Config) {
	config.MaxConns, config.MinConns, config.MinIdleConns = controlConnections, 0, 0
	config.MaxConnLifetime, config.MaxConnLifetimeJitter, config.MaxConnIdleTime = time.Hour, 0, 30*time.Minute
	config.HealthCheckPeriod, config.PingTimeout = time.Minute, 0
	postgres.PinStatements(config.ConnConfig)
}

// closeTimeout bounds how long [Close] and [CloseConnection] wait.
const closeTimeout = time.Second

// Close closes a pool and waits at most closeTimeout. The rest closes in the background, because
// connections whose network is gone take about fifteen seconds.
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

// CloseConnection closes a connection and waits at most closeTimeout.
func CloseConnection(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}

// OpenConnection opens one connection with the same session as those of [OpenWatchedPool]. RESET
// ALL does not change that session.
func OpenConnection(ctx context.Context, connect Connect, waiting Waiting) (*pgx.Conn, error) {
	learned, watch := &Learned{}, &waits{notify: waiting}
	conn, err := learned.dial(ctx, connect, watch)
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
	return learned.dial(ctx, connect, watch) // with the search path in its startup message
}

// Learned holds session parameters that earlier connections have determined. Connections that are
// opened at the same time determine the same values.
type Learned struct {
	ofVersion atomic.Pointer[map[string]string] // nil until a server has reported its version
	path      atomic.Pointer[string]            // nil until the relay's tables are found
}

func (l *Learned) dial(ctx context.Context, connect Connect, watch *waits) (*pgx.Conn, error) {
	config, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	postgres.PinSession(&config.Config, applicationName)
	postgres.PinStatements(config)
	boundConnect(&config.Config)
	watch.connectsWith(&config.Config)
	config.Tracer = watch
	ctx = watch.begin(ctx, connectLimit(&config.Config))
	defer watch.end(ctx)
	if err := l.pin(ctx, &config.Config); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// pin adds the known parameters to the startup message of a connection.
func (l *Learned) pin(ctx context.Context, conn *pgconn.Config) error {
	if err := l.PinVersion(ctx, conn); err != nil {
		return err
	}
	if path := l.path.Load(); path != nil {
		postgres.Pin(conn, map[string]string{searchPathName: *path})
	}
	return nil
}

// PinVersion adds the parameters that only some versions have to the startup message.
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

// homes lists the schemas with the relay's tables. The schema that the role's search path finds is
// the first one.
const homes = `
	SELECT pg_catalog.quote_ident(n.nspname), pg_table_is_visible(c.oid)
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relname = 'relay_checkpoints' AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
	ORDER BY 2 DESC, 1`

// searchPath returns a search path with the schema of the relay's own tables, or "" if there is
// none. It is the schema that the role's search path finds. If the search path finds none, it is
// the only schema with such tables. Only the operator can choose among several.
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
		return "", operator.Needed("the relay's tables are in the schemas %s, and the search path of the role finds "+
			"none of them: choose one in DATABASE_URL, as in ?search_path=%s", strings.Join(schemas, ", "), schemas[0])
	}
	return schemas[0] + ", public", nil
}
