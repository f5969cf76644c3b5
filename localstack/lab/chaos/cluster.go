package chaos

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// clusters has the clusters of one worker, one for each version of Postgres. So a fault of one run
// affects no other run.
type clusters struct {
	options Options
	running map[int]*cluster
}

// cluster is a server that runs restart and kill, and that later runs use again.
type cluster struct {
	server *pgtest.Server
	dir    string
	admin  string         // superuser URL
	keys   pgtest.KeyPair // of the server, and of brokers with TLS
}

// authority returns the file of the certificate that clients have to trust.
func (c *cluster) authority() string { return filepath.Join(c.dir, "authority.pem") }

// Roles of every cluster. The writers' role owns the schema. Each relay has its own role, which
// identifies its backends. None of them is a superuser.
const (
	writerRole = "writer"
	relayRole  = "relay_%d"
	maxRelays  = 2
)

func (c *clusters) of(ctx context.Context, version int) (*cluster, error) {
	if running := c.running[version]; running != nil {
		return running, nil
	}
	parent, err := pgtest.Reachable(os.TempDir())
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "chaos-")
	if err != nil {
		return nil, err
	}
	// so that the server's user can enter the directories below
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	keys, err := pgtest.NewKeyPair()
	if err != nil {
		return nil, err
	}
	server, err := pgtest.Start(ctx, pgtest.Options{
		Dir: filepath.Join(dir, "pg"), Version: version, CacheDir: c.options.CacheDir, TLS: &keys,
		Settings: map[string]string{
			"shared_buffers":     "64MB",
			"wal_writer_delay":   "2s", // the time in which an asynchronous commit can be lost
			"checkpoint_timeout": "30s",
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start Postgres %d: %w", version, err)
	}
	running := &cluster{server: server, dir: dir, admin: server.URL("postgres", pgtest.Superuser), keys: keys}
	c.running[version] = running
	//nolint:gosec // a certificate is no secret
	if err := os.WriteFile(running.authority(), keys.Certificate, 0o644); err != nil {
		return nil, err
	}
	return running, running.createRoles(ctx)
}

func (c *cluster) createRoles(ctx context.Context) error {
	roles := []string{writerRole}
	for i := range maxRelays {
		roles = append(roles, fmt.Sprintf(relayRole, i))
	}
	for _, role := range roles {
		if err := c.exec(ctx, "CREATE ROLE "+role+" LOGIN REPLICATION PASSWORD '"+role+"'"); err != nil {
			return err
		}
	}
	return nil
}

func (c *clusters) stop() {
	for _, cluster := range c.running {
		_ = cluster.server.Stop(pgtest.Immediate)
		_ = os.RemoveAll(cluster.dir)
	}
}

// exec runs a statement in the cluster's own database.
func (c *cluster) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, c.admin)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, statement)
	return err
}

// url returns the URL of a database for a role.
func (c *cluster) url(database, role string) string { return c.server.URL(database, role) }

// securedURL returns the URL for a connection over TLS.
func (c *cluster) securedURL(database, role string) string {
	secured := "sslmode=verify-full&sslrootcert=" + url.QueryEscape(c.authority())
	return strings.Replace(c.url(database, role), "sslmode=disable", secured, 1)
}

// drop drops a database with its slots and ends all connections to it.
func (c *cluster) drop(ctx context.Context, database string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for _, statement := range []string{
		`ALTER DATABASE $ ALLOW_CONNECTIONS false`,
		`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '$'`,
		`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '$' AND NOT active`,
		`DROP DATABASE $ WITH (FORCE)`,
	} {
		if err := c.exec(ctx, strings.ReplaceAll(statement, "$", database)); err != nil {
			return fmt.Errorf("drop database %s: %w", database, err)
		}
	}
	return nil
}
