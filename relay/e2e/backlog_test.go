package e2e_test

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
)

var oldestUndelivered = regexp.MustCompile(`(?m)^relay_oldest_undelivered_seconds (\S+)$`)

// oldest returns relay_oldest_undelivered_seconds of the relay that listens at this address.
func (w *testEnv) oldest(listen string) float64 {
	w.t.Helper()
	_, metrics := w.get("http://" + listen + "/metrics")
	found := oldestUndelivered.FindStringSubmatch(metrics)
	if found == nil {
		return -1
	}
	seconds, err := strconv.ParseFloat(found[1], 64)
	w.must(err)
	return seconds
}

// age makes every row of the table an hour old.
func (w *testEnv) age() {
	w.t.Helper()
	w.exec(`UPDATE outbox_events SET created_at = created_at - interval '1 hour'`)
}

// awaitOld waits until the metric says that an event has waited for an hour, and rises.
func (w *testEnv) awaitOld(listen string) {
	w.t.Helper()
	w.eventually("the metric says that an event has waited for an hour", func() bool { return w.oldest(listen) > 3600 })
	before := w.oldest(listen)
	w.eventually("the metric rises", func() bool { return w.oldest(listen) > before })
}

func (w *testEnv) awaitNothingWaits(listen string) {
	w.t.Helper()
	w.eventually("the metric falls to 0", func() bool { return w.oldest(listen) == 0 })
}

// drains waits until the last event that was written arrives and the metric falls.
func (w *testEnv) drains(listen, body string) {
	w.t.Helper()
	w.awaitBody(body)
	w.awaitNothingWaits(listen)
}

func TestOldestIsZeroWhileOnlyOtherTablesChange(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE TABLE other (id integer)`)
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN=" + listen)
	w.commit(event(t, "1", `{"n":1}`))
	w.drains(listen, `{"n":1}`)
	for until := time.Now().Add(8 * time.Second); time.Now().Before(until); {
		w.exec(`INSERT INTO other SELECT generate_series(1, 1000)`)
		if oldest := w.oldest(listen); oldest != 0 {
			t.Fatalf("the metric says %v", oldest)
		}
	}
}

func TestOldestRisesWhilePublicationIsEmpty(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	listen := freeAddress(t)
	p := w.startStreaming("RELAY_LISTEN=" + listen)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
	p.awaitLog("event=session_ended")
	w.commit(event(t, "1", `{"n":1}`))
	w.age()
	w.awaitOld(listen)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	w.drains(listen, `{"n":1}`)
}

func TestOldestOfAStandbyRises(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	other := w.holdSlot()
	listen := freeAddress(t)
	w.start("RELAY_LISTEN=" + listen).awaitLog("event=standby")
	w.commit(event(t, "1", `{"n":1}`))
	w.age()
	w.awaitOld(listen)
	w.must(other.Close(t.Context()))
	w.drains(listen, `{"n":1}`)
}

// holdSlot acquires the slot for a reader that confirms nothing.
func (w *testEnv) holdSlot() *pgconn.PgConn {
	w.t.Helper()
	config, err := pgconn.ParseConfig(w.url)
	w.must(err)
	config.RuntimeParams["replication"], config.RuntimeParams["wal_sender_timeout"] = "database", "0"
	other, err := pgconn.ConnectConfig(w.t.Context(), config)
	w.must(err)
	w.t.Cleanup(func() { _ = other.Close(context.Background()) })
	w.must(pglogrepl.StartReplication(w.t.Context(), other, w.slot, 0, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication, PluginArgs: []string{"proto_version '1'", "publication_names 'outbox_pub'"},
	}))
	return other
}

func TestOldestRisesWhileTheBrokerIsUnavailable(t *testing.T) {
	t.Parallel()
	t.Run("before it starts", func(t *testing.T) {
		t.Parallel()
		w := newTestEnv(t, "orders")
		w.startStreaming().stop()
		unavailable := w.broker.Script(fakeaws.Match{}, fakeaws.Unavailable())
		listen := freeAddress(t)
		w.start("RELAY_LISTEN=" + listen).awaitLog("event=start_retried")
		last := w.commitMany(40)
		w.age()
		w.awaitOld(listen)
		unavailable.Clear()
		w.drains(listen, last)
	})
	// The metric counts from the commit at the latest. The relay may know that it had delivered
	// everything until a moment before, so a time of the producer that is earlier does not count.
	t.Run("while it streams", func(t *testing.T) {
		t.Parallel()
		w := newTestEnv(t, "orders")
		listen := freeAddress(t)
		w.startStreaming("RELAY_LISTEN="+listen, "RELAY_WINDOW_EVENTS=10", "RELAY_RETRY_MAX=200ms")
		unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Unavailable())
		last := w.commitMany(40) // more events than the window holds
		committed := time.Now()
		w.eventually("the metric says that an event has waited for 20 seconds",
			func() bool { return w.oldest(listen) > 20 })
		if waited := time.Since(committed); waited > time.Minute {
			t.Errorf("the metric says 20 seconds after %s", waited)
		}
		unavailable.Clear()
		w.drains(listen, last)
	})
}

// commitMany writes events one by one and returns the body of the last.
func (w *testEnv) commitMany(count int) (last string) {
	w.t.Helper()
	for n := range count {
		last = `{"n":` + strconv.Itoa(n) + `}`
		w.commit(event(w.t, strconv.Itoa(n), last))
	}
	return last
}

// The relay itself has read the event only a moment ago.
func TestOldestCountsFromTheEventsCreation(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":1}`))
	w.age()
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Unavailable())
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN="+listen, "RELAY_RETRY_MAX=200ms")
	w.awaitOld(listen)
	unavailable.Clear()
	w.drains(listen, `{"n":1}`)
}

func TestOldestRisesWhileTheSlotIsCreated(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders")
	w.startStreaming().stop()
	w.dropSlot()
	w.commit(event(t, "1", `{"n":1}`))
	w.age()
	running, err := w.pool.BeginTx(t.Context(), pgx.TxOptions{})
	w.must(err)
	_, err = running.Exec(t.Context(), `SELECT pg_current_xact_id()`)
	w.must(err)
	listen := freeAddress(t)
	w.start("RELAY_LISTEN=" + listen)
	w.awaitOld(listen)
	w.must(running.Rollback(t.Context()))
	w.drains(listen, `{"n":1}`)
}

// The relay cannot know which events were written during the cut, so the metric counts from the
// moment at which everything was delivered.
func TestOldestRisesWhileTheDatabaseIsCutOff(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	between, through := w.newNetwork()
	listen := freeAddress(t)
	w.startStreaming("DATABASE_URL="+through, "RELAY_LISTEN="+listen, "RELAY_WAL_SENDER_TIMEOUT=2s")
	w.commit(event(t, "1", `{"n":1}`))
	w.drains(listen, `{"n":1}`)
	between.Silence(faultproxy.Server, faultproxy.Client)
	w.commit(event(t, "2", `{"n":2}`))
	w.eventually("the metric rises", func() bool { return w.oldest(listen) > 15 })
	between.Mend()
	w.drains(listen, `{"n":2}`)
}

func TestHaltedRelayReportsTheOldestEvent(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	refused := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"},
		fakeaws.FailEntries("InvalidMessageContents", "no", true))
	w.commit(event(t, "1", `{"n":1}`))
	w.age()
	halts := func() float64 {
		p := w.start("RELAY_ON_REJECTED=halt", "RELAY_METRICS=emf")
		if err := p.wait(); err == nil {
			t.Error("the relay ended without an error")
		}
		return lastOldest(t, p.stdout.String())
	}
	first := halts()
	if second := halts(); first < 3600 || second <= first {
		t.Errorf("a relay that halts says %v, and the next one %v", first, second)
	}
	refused.Clear()
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN=" + listen)
	w.drains(listen, `{"n":1}`)
}

// lastOldest returns the value of the metric that was written last.
func lastOldest(t *testing.T, stdout string) float64 {
	t.Helper()
	last := -1.0
	for line := range strings.Lines(stdout) {
		var document map[string]any
		if err := json.Unmarshal([]byte(line), &document); err != nil {
			t.Fatal(err)
		}
		if seconds, ok := document["relay_oldest_undelivered_seconds"].(float64); ok {
			last = seconds
		}
	}
	return last
}
