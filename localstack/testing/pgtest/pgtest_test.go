package pgtest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

func TestMain(m *testing.M) {
	if os.Getenv("PGTEST_ORPHAN") != "" {
		orphan()
		return
	}
	os.Exit(pgtest.Run(m))
}

func TestOwnerOfTheDatabaseReplicatesAndIsNoSuperuser(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.NewDatabase(t))

	var superuser, replication, createDB bool
	err := conn.QueryRow(t.Context(), "SELECT rolsuper, rolreplication, rolcreatedb FROM pg_roles WHERE rolname = "+
		"current_user").
		Scan(&superuser, &replication, &createDB)
	if err != nil || superuser || !replication || createDB {
		t.Errorf("superuser %t, replication %t, createdb %t (%v), want only replication", superuser, replication,
			createDB, err)
	}
	execute(t, conn, "CREATE TABLE t (id int); CREATE PUBLICATION p FOR TABLE t")
}

func TestSuperuserURLNamesTheSameDatabase(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	want := queryText(t, connect(t, database), "SELECT current_database()::text")

	super := connect(t, pgtest.SuperuserURL(t, database))
	if got := queryText(t, super, "SELECT current_database()::text"); got != want {
		t.Errorf("superuser is in %s, want %s", got, want)
	}
	if got := queryText(t, super, "SELECT current_setting('is_superuser')"); got != "on" {
		t.Errorf("is_superuser = %s, want on", got)
	}
}

func TestDatabaseAndItsActiveSlotAreGoneWhenTheTestEnds(t *testing.T) {
	t.Parallel()
	observer := connect(t, pgtest.SuperuserURL(t, pgtest.NewDatabase(t)))
	var database string

	t.Run("leaves a slot in use", func(t *testing.T) {
		address := pgtest.NewDatabase(t)
		walsender, err := pgconn.Connect(t.Context(), address+"&replication=database")
		if err != nil {
			t.Fatal(err)
		}
		database = queryText(t, connect(t, address), "SELECT current_database()::text")
		_, err = pglogrepl.CreateReplicationSlot(t.Context(), walsender, database, "pgoutput",
			pglogrepl.CreateReplicationSlotOptions{})
		if err != nil {
			t.Fatal(err)
		}
		err = pglogrepl.StartReplication(t.Context(), walsender, database, 0, pglogrepl.StartReplicationOptions{
			PluginArgs: []string{"proto_version '1'", "publication_names 'none'"},
		})
		if err != nil {
			t.Fatal(err)
		}
	})

	left := queryText(t, observer, "SELECT (SELECT count(*) FROM pg_database WHERE datname = '"+database+"')"+
		" || ' databases, ' || (SELECT count(*) FROM pg_replication_slots WHERE database = '"+database+"') || ' slots'")
	if left != "0 databases, 0 slots" {
		t.Errorf("%s left", left)
	}
}

func TestCommittedRowsSurviveAKillOfTheWholeCluster(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{Durable: true})
	address := server.URL("postgres", pgtest.Superuser)
	conn := connect(t, address)
	execute(t, conn, "CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
	if got := queryText(t, conn,
		"SELECT current_setting('fsync') || current_setting('wal_level')"); got != "onlogical" {
		t.Errorf("fsync and wal_level are %s", got)
	}

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a connection outlived the kill")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := queryText(t, connect(t, address), "SELECT count(*)::text FROM t"); got != "1" {
		t.Errorf("%s rows after the crash, want 1", got)
	}
}

func TestTemporaryClusterIsInItsParent(t *testing.T) {
	t.Parallel()
	parent, err := pgtest.Reachable(pgtest.Dir(t)) // as root, the server's user may not enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	server := pgtest.NewServer(t, pgtest.Options{Parent: parent})
	directory := queryText(t, connect(t, server.URL("postgres", pgtest.Superuser)), "SHOW data_directory")
	if !strings.HasPrefix(directory, parent+"/") {
		t.Errorf("the data is in %s, want a folder in %s", directory, parent)
	}
	if err := server.Stop(pgtest.Fast); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

func TestCopiedClustersHaveTheirOwnIdentifiers(t *testing.T) {
	t.Parallel()
	cache, err := pgtest.Reachable(pgtest.Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(cache) })
	seen := map[string]bool{}
	for range 3 { // the first is the template of the others
		server := pgtest.NewServer(t, pgtest.Options{CacheDir: cache})
		conn := connect(t, server.URL("postgres", pgtest.Superuser))
		seen[queryText(t, conn, "SELECT system_identifier::text FROM pg_control_system()")] = true
	}
	if len(seen) != 3 {
		t.Errorf("three clusters have the identifiers %v", seen)
	}
	if kept, err := filepath.Glob(filepath.Join(cache, "cluster-*")); err != nil || len(kept) != 1 {
		t.Errorf("the cache has %v (%v), want one template", kept, err)
	}
}

func TestDataDirectorySurvivesStopAndStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() // inaccessible to the user that Postgres runs as when the tests run as root

	first := pgtest.NewServer(t, pgtest.Options{Dir: dir})
	execute(t, connect(t, first.URL("postgres", pgtest.Superuser)), "CREATE TABLE kept ()")
	if err := first.Stop(pgtest.Fast); err != nil {
		t.Fatal(err)
	}
	second := pgtest.NewServer(t, pgtest.Options{Dir: dir})
	execute(t, connect(t, second.URL("postgres", pgtest.Superuser)), "TABLE kept")
}

func TestPortThatIsTakenIsNamedInTheError(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{})
	_, err := pgtest.Start(t.Context(), pgtest.Options{Port: server.Port()})
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(server.Port())) {
		t.Errorf("error %v does not name port %d", err, server.Port())
	}
}

// The child process of this test starts a cluster, prints its postmaster's pid and folder, and
// waits to be killed.
func TestNothingStaysBehindWhenTheTestProcessIsKilled(t *testing.T) {
	t.Parallel()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "PGTEST_ORPHAN=1")
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	n, err := stdout.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	pidText, dir, _ := strings.Cut(strings.TrimSpace(string(buffer[:n])), " ")
	pid, err := strconv.Atoi(pidText)
	if err != nil {
		t.Fatalf("child said %q", buffer[:n])
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // fails because of the signal

	waitFor(t, "postmaster to end", func() bool { return !runs(pid) })
	waitFor(t, "folder to be removed", func() bool { _, err := os.Stat(dir); return os.IsNotExist(err) })
}

func orphan() {
	server, err := pgtest.Start(context.Background(), pgtest.Options{})
	if err != nil {
		os.Stdout.WriteString(err.Error())
		return
	}
	os.Stdout.WriteString(strconv.Itoa(server.Pid()) + " " + server.SocketDir() + "\n")
	time.Sleep(time.Minute)
}

// runs reports whether the process exists and is no zombie.
func runs(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(string(state), "Z")
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, statements string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
}

func queryText(t *testing.T, conn *pgx.Conn, query string) (value string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
