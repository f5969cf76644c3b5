package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// newStandbyEnv returns an environment whose server has a standby with the name standby.
func newStandbyEnv(t *testing.T) *testEnv {
	t.Helper()
	server := newServerOf(t, pgtest.Options{AtLeast: 17})
	pgtest.NewStandby(t, server, nil)
	w := newTestEnvOn(t, server.URL("relay", pgtest.Superuser), "orders")
	w.url = server.URL("relay", "relay") // a role that sees no details of pg_stat_replication
	w.exec(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO relay`)
	w.eventually("the standby streams", func() bool {
		return w.query(`SELECT state FROM pg_stat_replication WHERE application_name = 'standby'`) == "streaming"
	})
	return w
}

// setStandbyNames changes synchronous_standby_names. Its commits do not wait for a standby.
func (w *testEnv) setStandbyNames(names string) {
	w.t.Helper()
	w.exec(`ALTER SYSTEM SET synchronous_standby_names = '` + strings.ReplaceAll(names, "'", "''") + `'`)
	w.exec(`SELECT pg_reload_conf()`)
	w.eventually("the setting is in effect", func() bool { return w.query(`SHOW synchronous_standby_names`) == names })
}

// relayState returns the sync_state of the relay's walsender, or the empty string while it does not
// stream.
func (w *testEnv) relayState() string {
	return w.query(`SELECT string_agg(sync_state, ',') FROM pg_stat_replication
		WHERE application_name ILIKE 'outbox-relay%'
		AND state IN ('streaming', 'catchup')`)
}

// slowestCommit commits for d and returns the duration of the slowest commit.
func (w *testEnv) slowestCommit(d time.Duration) time.Duration {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	w.must(err)
	defer conn.Close(w.t.Context())
	var slowest time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(w.t.Context(), patience)
		began := time.Now()
		_, err := conn.Exec(ctx, `INSERT INTO load VALUES (1)`)
		cancel()
		w.must(err)
		slowest = max(slowest, time.Since(began))
	}
	return slowest
}

// Each of these settings makes the relay a synchronous standby while it streams.
func TestCommitsNeverWaitForTheRelay(t *testing.T) {
	t.Parallel()
	w := newStandbyEnv(t)
	w.exec(`CREATE TABLE load (n integer); GRANT ALL ON load TO relay`)
	listen := freeAddress(t)
	p := w.start("RELAY_LISTEN=" + listen)
	for i, names := range []string{
		`FIRST 1 ("OUTBOX-relay ` + w.slot + `", standby)`, "*", `ANY 1 (standby, *)`,
		"standby,*",
	} {
		body := string(rune('a' + i))
		w.eventually("the relay streams", func() bool { return w.relayState() == "async" })
		w.commit(event(t, "1", `{"n":"`+body+`"}`))
		w.awaitBody(`{"n":"` + body + `"}`)
		w.setStandbyNames(names)
		// The limit has a margin for a machine that is busy with other tests.
		if slowest := w.slowestCommit(2 * time.Second); slowest > 2*time.Second {
			t.Errorf("%s: a commit took %v", names, slowest)
		}
		w.eventually("the relay streams no more", func() bool { return w.relayState() == "" })
		w.eventually("the relay says why", func() bool {
			status, text := w.get("http://" + listen + "/readyz")
			return status == http.StatusServiceUnavailable && strings.Contains(text, "name your standbys")
		})
		w.checkRefusal(nil, "check", "name your standbys", "synchronous")
		w.setStandbyNames("standby")
	}
	w.eventually("the relay streams again", func() bool { return w.relayState() == "async" })
	p.stop()
}

// The relay waits from its start, and streams once the setting is changed.
func TestRelayStartsNoStreamAsSynchronousStandby(t *testing.T) {
	t.Parallel()
	w := newStandbyEnv(t)
	w.startStreaming().stop()
	w.setStandbyNames("*")
	listen := freeAddress(t)
	p := w.start("RELAY_LISTEN=" + listen)
	w.eventually("the relay says why it waits", func() bool {
		_, text := w.get("http://" + listen + "/readyz")
		return strings.Contains(text, "synchronous_standby_names = '*'")
	})
	w.commit(event(t, "1", `{"n":1}`))
	if state := w.relayState(); state != "" {
		t.Errorf("the relay streams as %s", state)
	}
	w.setStandbyNames("FIRST 1 (standby)")
	w.awaitBody(`{"n":1}`)
	p.stop()
}
