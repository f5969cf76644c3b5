package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// patience bounds every wait for an event that has to happen. A relay waits for the transactions of
// other tests: a slot is created, and a horizon covers an event, once those have ended.
const patience = 2 * time.Minute

// relayBinary is the path of the relay, which is built with the race detector.
var relayBinary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "relay")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		relayBinary = filepath.Join(dir, "relay")
		build := exec.Command("go", "build", "-race", "-o", relayBinary, "../cmd/relay")
		if output, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the relay: %v\n%s", err, output)
			return 1
		}
		if err := waitInParallel(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return pgtest.Run(m)
	}())
}

// waitInParallel lets eight tests run at once even on fewer cores, unless -parallel sets another
// number. The tests of this package mostly wait for other processes.
func waitInParallel() error {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if asked {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
}

// testEnv is the environment of a test: a database with the outbox schema, a broker, and relays
// that run as processes.
type testEnv struct {
	t      *testing.T
	url    string
	pool   *pgxpool.Pool
	broker *fakeaws.Server
	queue  fakeaws.Queue // the default destination
	slot   string        // slot names are unique in a cluster, not in a database
}

// newTestEnv returns an environment whose default destination is a queue of this name.
func newTestEnv(t *testing.T, queue string) *testEnv {
	t.Helper()
	return newTestEnvOf(t, 0, queue)
}

func newTestEnvOn(t *testing.T, url, queue string) *testEnv {
	t.Helper()
	w := newBareEnv(t, url, queue, fakeaws.Options{})
	w.migrate()
	return w
}

// newBareEnv returns an environment whose database has no outbox schema yet.
func newBareEnv(t *testing.T, url, queue string, broker fakeaws.Options) *testEnv {
	t.Helper()
	w := &testEnv{t: t, url: url, slot: "relay_" + strings.ToLower(rand.Text()[:12])}
	var err error
	w.pool, err = pgxpool.New(context.Background(), url)
	w.must(err)
	t.Cleanup(w.pool.Close)
	w.broker, err = fakeaws.Start(broker)
	w.must(err)
	t.Cleanup(func() { _ = w.broker.Close() })
	w.queue, err = w.broker.CreateQueue(queue, nil)
	w.must(err)
	return w
}

// migrate migrates the outbox schema to its newest version.
func (w *testEnv) migrate() {
	w.t.Helper()
	w.must(w.pool.AcquireFunc(w.t.Context(), func(c *pgxpool.Conn) error {
		_, _, err := migrations.Migrate(w.t.Context(), c.Conn())
		return err
	}))
}

func (w *testEnv) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// newNetwork returns a faulty network to the database, and the URL that leads through it.
func (w *testEnv) newNetwork() (between *faultproxy.Network, through string) {
	w.t.Helper()
	between, through, err := faultproxy.To(w.url)
	w.must(err)
	w.t.Cleanup(between.Close)
	return between, through
}

// await waits until the proxy holds a message back.
func (w *testEnv) await(stop *faultproxy.Stop) {
	w.t.Helper()
	select {
	case <-stop.Reached:
	case <-time.After(patience):
		w.t.Fatal("the proxy saw no message that it has to hold back")
	}
}

// commit writes events in one transaction.
func (w *testEnv) commit(events ...outbox.Event) {
	w.t.Helper()
	w.must(pgx.BeginFunc(w.t.Context(), w.pool, func(tx pgx.Tx) error {
		return outbox.Insert(w.t.Context(), tx, events...)
	}))
}

// exec runs SQL as the outbox role.
func (w *testEnv) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.pool.Exec(w.t.Context(), sql, args...)
	w.must(err)
}

// query returns one value as text. It returns the empty string for NULL and for no row.
func (w *testEnv) query(sql string, args ...any) string {
	w.t.Helper()
	var value *string
	err := w.pool.QueryRow(w.t.Context(), sql, args...).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && value == nil {
		return ""
	}
	w.must(err)
	return *value
}

// eventually waits until condition holds.
func (w *testEnv) eventually(awaited string, condition func() bool) {
	w.t.Helper()
	w.within(patience, awaited, condition)
}

// within is eventually for a condition that may take longer than patience.
func (w *testEnv) within(limit time.Duration, awaited string, condition func() bool) {
	w.t.Helper()
	began := time.Now()
	for !condition() {
		if time.Since(began) > limit {
			w.t.Fatalf("waited %v in vain until %s", limit, awaited)
		}
		time.Sleep(pollInterval(began))
	}
}

// pollInterval returns the time until a condition is checked again that has been awaited since
// began. It is a tenth of that time, so that the end of a short wait is noticed early, and that a
// long wait leaves the processor to the other tests.
func pollInterval(began time.Time) time.Duration {
	return min(max(time.Since(began)/10, 5*time.Millisecond), 50*time.Millisecond)
}

// event returns an event of an order.
func event(t *testing.T, aggregateID, payload string) outbox.Event {
	t.Helper()
	e, err := outbox.New("order", aggregateID, "order.created", nil)
	if err != nil {
		t.Fatal(err)
	}
	e.Payload = []byte(payload)
	return e
}

// number returns the value of an environment variable as a number, or small if it is not set.
func number(t *testing.T, name string, small int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return small
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
