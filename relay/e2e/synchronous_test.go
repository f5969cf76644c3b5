package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
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

// Each of these settings makes the relay a synchronous standby while it streams. An event is not
// delivered meanwhile, so the relay confirms no commit for which the server would wait.
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
		throttled := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
		w.commit(event(t, "1", `{"held":"`+body+`"}`))
		w.must(throttled.AwaitHits(t.Context(), 1))
		w.setStandbyNames(names)
		// A machine may stall. A commit that waits for the relay waits for minutes.
		if slowest := w.slowestCommit(2 * time.Second); slowest > 15*time.Second {
			t.Errorf("%s: a commit took %v", names, slowest)
		} else {
			t.Logf("%s: the slowest commit took %v", names, slowest.Round(time.Millisecond))
		}
		w.eventually("the relay streams no more", func() bool { return w.relayState() == "" })
		w.eventually("the relay says why", func() bool {
			status, text := w.get("http://" + listen + "/readyz")
			return status == http.StatusServiceUnavailable && strings.Contains(text, "name your standbys")
		})
		w.checkRefusal(nil, "check", "name your standbys", "synchronous")
		throttled.Clear()
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

// startStandby starts a synchronous standby that stores the log at once. It applies nothing until
// the channel is closed.
func (w *testEnv) startStandby(url string) (apply chan struct{}) {
	w.t.Helper()
	conn, err := pgconn.Connect(w.t.Context(), url+"&replication=true&application_name=standby")
	w.must(err)
	system, err := pglogrepl.IdentifySystem(w.t.Context(), conn)
	w.must(err)
	w.exec(`SELECT pg_create_physical_replication_slot('standby')`)
	w.must(pglogrepl.StartReplication(w.t.Context(), conn, "standby", system.XLogPos,
		pglogrepl.StartReplicationOptions{Mode: pglogrepl.PhysicalReplication}))
	apply = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		stored := system.XLogPos
		for ctx.Err() == nil {
			status := pglogrepl.StandbyStatusUpdate{
				WALWritePosition: stored, WALFlushPosition: stored,
				WALApplyPosition: 1,
			}
			select {
			case <-apply:
				status.WALApplyPosition = stored
			default:
			}
			if pglogrepl.SendStandbyStatusUpdate(ctx, conn, status) != nil {
				return
			}
			soon, stop := context.WithTimeout(ctx, 50*time.Millisecond)
			message, err := conn.ReceiveMessage(soon)
			stop()
			if data, ok := message.(*pgproto3.CopyData); ok && err == nil && data.Data[0] == pglogrepl.XLogDataByteID {
				if x, err := pglogrepl.ParseXLogData(data.Data[1:]); err == nil {
					stored = max(stored, x.WALStart+pglogrepl.LSN(len(x.WALData)))
				}
			}
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
		_ = conn.Close(context.Background())
	})
	return apply
}

// The commit waits for a synchronous standby while its event is delivered, and the relay that
// delivered it ends. The next relay finds a row that its stream never brought.
func TestACommitThatAwaitsAStandbyIsNoGap(t *testing.T) {
	t.Parallel()
	server := newServerWith(t, map[string]string{
		"synchronous_standby_names": "standby",
		"synchronous_commit":        "local", // only the commit of the event waits for the standby
	})
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
	standby := w.startStandby(server.URL("relay", "postgres"))
	p := w.startStreaming()
	committed := make(chan error, 1)
	go func() {
		committed <- pgx.BeginFunc(context.Background(), w.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(context.Background(), `SET LOCAL synchronous_commit = remote_apply`); err != nil {
				return err
			}
			return outbox.Insert(context.Background(), tx, event(t, "1", `{"late":true}`))
		})
	}()
	w.awaitBody(`{"late":true}`)
	w.awaitCheckpoint()
	p.stop()
	p = w.startStreaming()
	p.awaitLog("event=audit_begun")
	if rows := w.query(`SELECT count(*)::text FROM outbox_events`); rows != "0" {
		t.Fatalf("%s rows are visible already", rows)
	}
	close(standby)
	w.must(<-committed)
	w.commit(event(t, "1", `{"next":true}`))
	w.awaitBody(`{"next":true}`)
	w.awaitHorizon()
	if strings.Contains(p.log.String(), alarm) {
		t.Error("the relay logged the alarm")
	}
	if got := w.bodies(); got[`{"late":true}`] != 1 {
		t.Errorf("received %v", got)
	}
}
