// Package pgtest runs a real Postgres. One cluster serves a test process, with a new database for
// each test. Further clusters have data directories of their own, for crash tests and for a stack
// without containers.
//
// Environment of the tests: PGTEST_URL (superuser URL of a running server to use instead),
// PGTEST_VERSION (major version, 15 to 18), PGTEST_BINDIR (folder of postgres and initdb),
// PGTEST_DIR (parent of the data directories, for example in memory; a durable cluster ignores it).
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Role owns every database of [NewDatabase]. It may replicate and is no superuser, like a relay's
// role on RDS.
const Role = "outbox"

// emptyDatabase is the one that CREATE DATABASE copies by default.
const emptyDatabase = "template1"

// setupTimeout bounds the time until a test has its database, including the download of server
// binaries.
const setupTimeout = 5 * time.Minute

// cluster is started by the first test that needs a database on it.
type cluster struct {
	once   sync.Once
	server *Server // nil if PGTEST_URL names a server
	admin  string  // superuser URL
	err    error

	prepare  sync.Once
	prepared string // the database that [NewPreparedDatabase] copies
	failed   error  // of its preparation
}

var (
	// usual is the cluster of this test process.
	usual cluster
	// others are its clusters of the versions that tests request.
	others   = map[int]*cluster{}
	othersMu sync.Mutex
)

// Run runs the tests and stops their clusters. Use it as os.Exit(pgtest.Run(m)).
func Run(m *testing.M) int {
	code := m.Run()
	for _, c := range append(slices.Collect(maps.Values(others)), &usual) {
		if err := c.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			code = max(code, 1)
		}
	}
	return code
}

// NewDatabase returns the URL of an empty database for this test, as [Role]. When the test ends,
// the database and its replication slots are dropped, even if connections still use them.
func NewDatabase(t testing.TB) string {
	t.Helper()
	return ofVersion(0).newDatabase(t, emptyDatabase)
}

// NewDatabaseOf is [NewDatabase] on a server of this major version, whatever the environment says.
func NewDatabaseOf(t testing.TB, version int) string {
	t.Helper()
	return ofVersion(version).newDatabase(t, emptyDatabase)
}

// ofVersion returns the started cluster of a major version, or the usual one.
func ofVersion(version int) *cluster {
	if version == 0 {
		usual.once.Do(usual.start)
		return &usual
	}
	othersMu.Lock()
	c := others[version]
	if c == nil {
		c = &cluster{}
		others[version] = c
	}
	othersMu.Unlock()
	c.once.Do(func() { c.startOwn(Options{Version: version}) })
	return c
}

// Database is [NewDatabase] for an Example, which has no [testing.TB]. The caller drops the
// database.
func Database() (databaseURL string, drop func() error, err error) {
	c := ofVersion(0)
	name, err := c.create(emptyDatabase)
	return c.urlOf(name), func() error { return dropDatabase(c.admin, name) }, err
}

func (c *cluster) newDatabase(t testing.TB, template string) string {
	t.Helper()
	name, err := c.create(template)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := dropDatabase(c.admin, name); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return c.urlOf(name)
}

// create creates a database as a copy of another one, and returns its name.
func (c *cluster) create(template string) (name string, err error) {
	if c.err != nil {
		return "", c.err
	}
	name = "test_" + strings.ToLower(rand.Text()[:12])
	return name, createDatabase(c.admin, name, template)
}

func (c *cluster) urlOf(name string) string {
	return withUser(withDatabase(c.admin, name), url.UserPassword(Role, Role))
}

// stop stops a cluster of this process. From a server of PGTEST_URL it removes the prepared
// database.
func (c *cluster) stop() error {
	switch {
	case c.server != nil:
		return c.server.Stop(Fast)
	case c.prepared != "":
		return dropDatabase(c.admin, c.prepared)
	}
	return nil
}

// SuperuserURL replaces the role with the superuser in a URL from [NewDatabase] or [Server.URL].
func SuperuserURL(t testing.TB, databaseURL string) string {
	t.Helper()
	admin, err := url.Parse(os.Getenv("PGTEST_URL"))
	if err != nil {
		t.Fatalf("pgtest: parse superuser URL: %v", err)
	}
	if admin.User == nil {
		admin.User = url.User(Superuser)
	}
	return withUser(databaseURL, admin.User)
}

// NewServer starts a cluster for this test, which may restart or kill it, and stops it when the
// test ends. The zero Options follow PGTEST_VERSION and PGTEST_BINDIR. If those are older than
// Options.AtLeast, NewServer uses a newer version.
func NewServer(t testing.TB, options Options) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), setupTimeout)
	defer cancel()
	options, err := fromEnvironment(options)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	server, err := Start(ctx, options)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		err := server.Stop(Immediate)
		if server.substitute {
			err = errors.Join(err, os.RemoveAll(server.dir))
		}
		if err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return server
}

func (c *cluster) start() {
	if c.admin = os.Getenv("PGTEST_URL"); c.admin == "" {
		c.startOwn(Options{})
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	c.createRole(ctx)
}

func (c *cluster) startOwn(options Options) {
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	if options, c.err = fromEnvironment(options); c.err != nil {
		return
	}
	if c.server, c.err = Start(ctx, options); c.err != nil {
		return
	}
	c.admin = c.server.URL("postgres", Superuser)
	c.createRole(ctx)
}

func (c *cluster) createRole(ctx context.Context) {
	c.err = execute(ctx, c.admin, "CREATE ROLE "+Role+" LOGIN REPLICATION PASSWORD '"+Role+"'")
	// Several test processes can share the server of PGTEST_URL. 42710 and 23505 mean that another
	// process has created the role.
	if pgErr := new(pgconn.PgError); errors.As(c.err, &pgErr) && (pgErr.Code == "42710" || pgErr.Code == "23505") {
		c.err = nil
	}
}

func createDatabase(admin, name, template string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := execute(ctx, admin, "CREATE DATABASE "+name+" OWNER "+Role+" TEMPLATE "+template); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	return nil
}

// dropDatabase refuses new connections first, so that no connection acquires a slot between the
// steps.
func dropDatabase(admin, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	const refuse = `ALTER DATABASE %[1]s ALLOW_CONNECTIONS false`
	const dropSlots = `
		SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '%[1]s' AND NOT active`
	const terminate = `
		SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '%[1]s'`
	var statements []string
	for _, statement := range []string{refuse, terminate, dropSlots, "DROP DATABASE %[1]s WITH (FORCE)"} {
		statements = append(statements, fmt.Sprintf(statement, name))
	}
	if err := execute(ctx, admin, statements...); err != nil {
		return fmt.Errorf("drop database: %w", err)
	}
	return nil
}

// execute executes statements in one session, because a session costs more than most of them.
func execute(ctx context.Context, databaseURL string, statements ...string) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func withDatabase(databaseURL, name string) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return databaseURL // connecting to it reports the error
	}
	u.Path = "/" + name
	return u.String()
}

func withUser(databaseURL string, user *url.Userinfo) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return databaseURL
	}
	u.User = user
	return u.String()
}
