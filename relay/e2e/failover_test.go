package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// pair is a primary with its standby, on Postgres 17 or newer, which synchronises slots.
type pair struct {
	*testEnv
	primary, standby *pgtest.Server
}

// newPair returns an environment whose URL names both servers. Commits do not wait for the standby
// until synchronous is called.
func newPair(t *testing.T, standbySettings map[string]string) *pair {
	t.Helper()
	primary := newServerOf(t, pgtest.Options{
		AtLeast:  17,
		Settings: map[string]string{"synchronized_standby_slots": pgtest.StandbySlot},
	})
	standby := pgtest.NewStandby(t, primary, standbySettings)
	host := func(s *pgtest.Server) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())) }
	url := strings.Replace(primary.URL("relay", "relay"), host(primary), host(primary)+","+host(standby), 1) +
		"&target_session_attrs=read-write"
	return &pair{testEnv: newTestEnvOn(t, url, "orders.fifo"), primary: primary, standby: standby}
}

// synchronous makes every commit wait until the standby has stored it.
func (p *pair) synchronous() {
	p.t.Helper()
	admin, err := pgx.Connect(p.t.Context(), p.primary.URL("postgres", pgtest.Superuser))
	p.must(err)
	defer admin.Close(p.t.Context())
	for _, sql := range []string{
		`ALTER SYSTEM SET synchronous_standby_names = '` + pgtest.StandbySlot + `'`,
		`SELECT pg_reload_conf()`,
	} {
		_, err := admin.Exec(p.t.Context(), sql)
		p.must(err)
	}
	p.eventually("the standby is synchronous", func() bool {
		return p.on(p.primary, `SELECT sync_state FROM pg_stat_replication`) == "sync"
	})
	_, err = admin.Exec(p.t.Context(), `CHECKPOINT`) // the checkpointer process makes commits wait
	p.must(err)
}

// on returns one value from the given server as text.
func (p *pair) on(server *pgtest.Server, sql string, args ...any) string {
	p.t.Helper()
	conn, err := pgx.Connect(p.t.Context(), server.URL("relay", pgtest.Superuser))
	p.must(err)
	defer conn.Close(p.t.Context())
	var value *string
	if err := conn.QueryRow(p.t.Context(), sql, args...).Scan(&value); err != nil || value == nil {
		return ""
	}
	return *value
}

// awaitSynced waits until the standby has a permanent copy of the slot. For that, the primary's
// slot has to advance past a running-transactions record in the log that is newer than the
// standby's first attempt.
func (p *pair) awaitSynced() {
	p.t.Helper()
	p.eventually("the slot is synchronised", func() bool {
		p.on(p.primary, `SELECT pg_log_standby_snapshot()::text`)
		p.commit(event(p.t, "sync", `{}`))
		return p.on(p.standby, `SELECT (synced AND NOT temporary)::text FROM pg_replication_slots
			WHERE slot_name = $1`, p.slot) == "true"
	})
}

// failOver kills the primary and promotes the standby.
func (p *pair) failOver() {
	p.t.Helper()
	p.must(p.primary.Kill())
	if p.on(p.standby, `SELECT pg_promote(true, 60)::text`) != "true" {
		p.t.Fatal("the standby was not promoted")
	}
	p.pool.Reset()
}

// commitAfter commits events and returns the end of the log just before the commit. The commit
// record is behind that position. Records of other transactions may follow it.
func (p *pair) commitAfter(events ...outbox.Event) (written string) {
	p.t.Helper()
	p.must(pgx.BeginFunc(p.t.Context(), p.pool, func(tx pgx.Tx) error {
		if err := outbox.Insert(p.t.Context(), tx, events...); err != nil {
			return err
		}
		return tx.QueryRow(p.t.Context(), `SELECT pg_current_wal_insert_lsn()::text`).Scan(&written)
	}))
	return written
}

// isPast reports whether the slot has a confirmed position behind lsn on the given server.
func (p *pair) isPast(server *pgtest.Server, lsn string) bool {
	p.t.Helper()
	return p.on(server, `SELECT (confirmed_flush_lsn > $1::pg_lsn)::text FROM pg_replication_slots
		WHERE slot_name = $2`, lsn, p.slot) == "true"
}

// load writes events of four aggregates until it is stopped. Each aggregate has one writer, which
// continues through failures of the server.
func (p *pair) load() (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var wait sync.WaitGroup
	for aggregate := range 4 {
		wait.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				time.Sleep(10 * time.Millisecond) // the test is about order, not about throughput
				e := event(p.t, strconv.Itoa(aggregate), fmt.Sprintf(`{"aggregate":%d,"n":%d}`, aggregate, n))
				// awaitTable reads the committed events from the table.
				_ = pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error { return outbox.Insert(ctx, tx, e) })
			}
		})
	}
	return func() {
		cancel()
		wait.Wait()
	}
}

// awaitTable waits until every event of the table has arrived. It then checks that the first
// deliveries of each aggregate are in order.
func (p *pair) awaitTable() {
	p.t.Helper()
	rows, err := strconv.Atoi(p.query(`SELECT count(*)::text FROM outbox_events`))
	p.must(err)
	missing := func() string {
		var ids []string
		for _, r := range p.broker.Received(p.queue.ARN) {
			ids = append(ids, attribute(r.Attributes, outbox.AttributeEventID))
		}
		return p.query(`SELECT count(*)::text FROM outbox_events WHERE id::text <> ALL ($1)`, ids)
	}
	p.eventually(fmt.Sprintf("all %d events have arrived", rows), func() bool { return missing() == "0" })
	last, seen := map[string]int{}, map[string]bool{}
	for _, r := range p.broker.Received(p.queue.ARN) {
		id, aggregate := attribute(r.Attributes, outbox.AttributeEventID), attribute(r.Attributes,
			outbox.AttributeAggregateID)
		seq, err := strconv.Atoi(attribute(r.Attributes, outbox.AttributeSequence))
		p.must(err)
		if !seen[id] && seq < last[aggregate] {
			p.t.Errorf("event %d of aggregate %s arrived first after event %d", seq, aggregate, last[aggregate])
		}
		seen[id], last[aggregate] = true, max(last[aggregate], seq)
	}
}

func (p *pair) awaitEvents(n int) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("%d events were received", n), func() bool {
		return len(p.broker.Received(p.queue.ARN)) >= n
	})
}

func TestRelayContinuesOnAPromotedStandby(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.synchronous() // otherwise the slot may reach the standby before the checkpoint
	relay := p.startStreaming()
	stop := p.load()
	p.awaitEvents(100)
	p.awaitSynced()
	before := len(p.broker.Received(p.queue.ARN))
	p.awaitEvents(before + 100)
	p.failOver()
	p.awaitEvents(len(p.broker.Received(p.queue.ARN)) + 200)
	stop()
	p.awaitTable()
	if p.query(`SELECT synced::text FROM pg_replication_slots WHERE slot_name = $1`, p.slot) != "true" {
		t.Error("the slot is not the one that was synchronised")
	}
	if made := strings.Count(relay.log.String(), "event=slot_created"); made != 1 {
		t.Errorf("the relay has created %d slots", made)
	}
}

func TestPromotedStandbyWithoutTheSlotLosesNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t, map[string]string{"sync_replication_slots": "off"})
	relay := p.startStreaming()
	stop := p.load()
	p.awaitEvents(100)
	p.failOver()
	p.awaitEvents(len(p.broker.Received(p.queue.ARN)) + 200)
	stop()
	relay.awaitLog("the slot is gone")
	p.awaitTable()
}

func TestSyncedSlotThatIsAdvancedByHandIsNotTrusted(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.synchronous()
	relay := p.startStreaming()
	p.awaitSynced()
	p.failOver()
	p.commit(event(t, "1", `{"n":1}`))
	p.awaitBody(`{"n":1}`)
	relay.stop()
	p.commit(event(t, "1", `{"n":2}`))
	p.advanceSlot()
	p.startStreaming().awaitLog("ahead of the checkpoint")
	p.awaitBody(`{"n":2}`)
}

// The primary dies after it confirmed a position that the standby has, and before the standby has
// the dead letter that allowed that position.
func TestFailoverBeforeADeadLetterLosesNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.startStreaming()
	p.awaitSynced()
	locked, err := p.pool.Begin(t.Context())
	p.must(err)
	_, err = locked.Exec(t.Context(), `LOCK TABLE outbox_dead_letters IN SHARE ROW EXCLUSIVE MODE`)
	p.must(err)
	// larger than any message
	written := p.commitAfter(event(t, "2", `{"padding":"`+strings.Repeat("x", 1<<20-20)+`"}`))
	p.eventually("the relay is about to park the event", func() bool {
		return p.on(p.primary, `SELECT count(*)::text FROM pg_locks
			WHERE relation = 'outbox_dead_letters'::regclass AND NOT granted`) != "0"
	})
	committed := p.endOfLog()
	p.eventually("the standby has the event", func() bool {
		return p.on(p.primary, `SELECT (flush_lsn >= $1::pg_lsn)::text FROM pg_stat_replication`, committed) == "true"
	})
	receiver, err := strconv.Atoi(p.on(p.standby, `SELECT pid::text FROM pg_stat_wal_receiver`))
	p.must(err)
	p.must(syscall.Kill(receiver, syscall.SIGSTOP))
	p.must(locked.Rollback(t.Context()))
	p.eventually("the event is parked and confirmed", func() bool {
		return p.query(`SELECT count(*)::text FROM outbox_dead_letters`) == "1" && p.isPast(p.primary, written)
	})
	p.eventually("the slot on the standby has the same position", func() bool { return p.isPast(p.standby, written) })
	p.must(p.primary.Kill())
	// so that it reads nothing more from its socket when it continues
	p.must(syscall.Kill(receiver, syscall.SIGTERM))
	p.must(syscall.Kill(receiver, syscall.SIGCONT))
	p.failOver()
	if n := p.on(p.standby, `SELECT count(*)::text FROM outbox_dead_letters`); n != "0" {
		t.Fatalf("the standby has %s dead letters: the test was too late", n)
	}
	p.eventually("the event is parked again", func() bool {
		return p.on(p.standby, `SELECT count(*)::text FROM outbox_dead_letters`) == "1"
	})
}

// The URL names the standby first, and says nothing about the kind of server.
func TestARelayFindsThePrimaryOfTwoHosts(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	config, err := pgx.ParseConfig(p.url)
	p.must(err)
	p.startStreaming(fmt.Sprintf("DATABASE_URL=postgres://relay:relay@127.0.0.1:%d,127.0.0.1:%d/%s?sslmode=disable",
		p.standby.Port(), p.primary.Port(), config.Database))
	p.commit(event(t, "1", `{"n":1}`))
	p.awaitBody(`{"n":1}`)
}
