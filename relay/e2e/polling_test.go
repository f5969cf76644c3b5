package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// poller stands for a polling publisher: it reads unsent rows by their number, publishes them, and
// marks them as sent.
type poller struct {
	stop func()

	mu        sync.Mutex
	published []written
}

// poll publishes the rows of outbox_events that have no sent_at.
func (w *testEnv) poll() *poller {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p, done := &poller{}, make(chan struct{})
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	w.t.Cleanup(p.stop)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error { return p.round(ctx, tx) }); err != nil &&
				!errors.Is(err, context.Canceled) {
				w.t.Error(err)
				return
			}
			time.Sleep(20 * time.Millisecond) // the pause of a polling publisher
		}
	}()
	return p
}

func (p *poller) round(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		WITH unsent AS MATERIALIZED (
			SELECT id, seq, aggregate_id FROM outbox_events WHERE sent_at IS NULL ORDER BY seq LIMIT 50 FOR UPDATE
		), sent AS (UPDATE outbox_events SET sent_at = now() WHERE id IN (SELECT id FROM unsent))
		SELECT id::text, aggregate_id FROM unsent ORDER BY seq`)
	if err != nil {
		return err
	}
	var e written
	_, err = pgx.ForEachRow(rows, []any{&e.id, &e.aggregate}, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.published = append(p.published, e)
		return nil
	})
	return err
}

// all returns what was published, in order.
func (p *poller) all() []written {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]written(nil), p.published...)
}

// deliveries writes a file for relay compare.
func (w *testEnv) deliveries(name string, events []written) string {
	w.t.Helper()
	var lines strings.Builder
	for _, e := range events {
		lines.WriteString(e.id + "\t" + e.aggregate + "\n")
	}
	path := filepath.Join(w.t.TempDir(), name)
	w.must(os.WriteFile(path, []byte(lines.String()), 0o600))
	return path
}

// relayed returns the events that a destination received, in order.
func (w *testEnv) relayed(arn string) (all []written) {
	for _, m := range w.broker.Received(arn) {
		all = append(all, written{
			id: attribute(m.Attributes, "event_id"), aggregate: attribute(m.Attributes, "aggregate_id"),
		})
	}
	return all
}

const writeOutboxEvent = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
	VALUES ($1::uuid, 'order', $2, 'order.created', $3::json)`

// TestAPollingPublisherIsReplaced follows relay/docs/from-polling.md under load: the relay runs
// beside it with a queue of its own, both are compared, and the relay continues where it stopped.
func TestAPollingPublisherIsReplaced(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "shadow.fifo")
	orders, err := w.broker.CreateQueue("orders.fifo", nil)
	w.must(err)
	w.exec(`ALTER TABLE outbox_events ADD COLUMN sent_at timestamptz`)
	polling := w.poll()
	relay := w.startStreaming("RELAY_START=now")
	compared := w.startTraffic(writeOutboxEvent)
	w.eventually("both publish", func() bool {
		return len(polling.all()) > 200 && len(w.broker.Received(w.queue.ARN)) > 200
	})
	compared.stop() // at the ends of live lists, each may lack events that it delivers next
	w.eventually("both have all", func() bool {
		n := len(compared.all())
		return len(polling.all()) == n && len(w.ids(w.queue.ARN, "event_id")) == n
	})
	output, err := w.command(nil, "compare", w.deliveries("polled", polling.all()),
		w.deliveries("relayed", w.relayed(w.queue.ARN)))
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}

	l := w.startTraffic(writeOutboxEvent)
	sent := len(polling.all())
	w.eventually("both continue", func() bool { return len(polling.all()) > sent+50 })
	w.awaitStatus(0, "")
	waiting := w.query(`SELECT count(*)::text FROM outbox_deferrals WHERE state = 'deferred'`)
	if letters := w.deadLetters(); waiting != "0" || letters != "" {
		t.Fatalf("%s deferrals, dead letters %q", waiting, letters)
	}
	relay.stop()
	once := w.ids(w.queue.ARN, "event_id") // the slot is behind all that the relay has delivered
	w.exec(`CREATE TABLE before_switch AS SELECT id FROM outbox_events WHERE sent_at IS NULL`)
	w.eventually("the polling publisher has sent everything up to then", func() bool {
		return w.query(`SELECT count(*)::text FROM outbox_events JOIN before_switch USING (id)
			WHERE sent_at IS NULL`) == "0"
	})
	polling.stop()
	w.startStreaming("RELAY_DESTINATION=" + orders.URL)
	seen := len(l.all())
	w.eventually("further events are written", func() bool { return len(l.all()) > seen+50 })
	l.stop()
	all := l.all()
	polled := map[string]bool{}
	for _, e := range polling.all() {
		polled[e.id] = true
	}
	h := w.awaitHandover(all, polled, orders.ARN, "event_id")
	h.check(t, all, once)
	w.requireOrder(orders.ARN)
}
