package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/localstack/run/gateway"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// load is the size of the crash test. `make crash-test` sets the full size.
type load struct {
	orders, events, aggregates, writers, kills int
}

func loadFromEnvironment(t *testing.T) load {
	return load{
		orders:     number(t, "CRASH_ORDERS", 300),
		events:     number(t, "CRASH_EVENTS", 2000),
		aggregates: number(t, "CRASH_AGGREGATES", 50),
		kills:      number(t, "CRASH_KILLS", 5),
		writers:    16,
	}
}

// Clients post orders to the functions and concurrent writers commit events, while the relay is
// killed and started again.
func TestRepeatedKillsLoseAndReorderNothing(t *testing.T) {
	l := loadFromEnvironment(t)
	w := newTestEnv(t, "crash.fifo")
	api := startFunctions(t, w, gateway.Options{}).url
	w.exec(`CREATE TABLE aggregates (id text PRIMARY KEY, version integer NOT NULL DEFAULT 0)`)
	w.exec(`INSERT INTO aggregates (id) SELECT i::text FROM generate_series(1, $1) AS i`, l.aggregates)

	began := time.Now()
	writing, ctx := errgroup.WithContext(t.Context())
	writing.Go(func() error { return postOrders(ctx, api, l) })
	for i := range l.writers {
		share := l.events / l.writers
		if i < l.events%l.writers {
			share++
		}
		writing.Go(func() error { return writeEvents(ctx, w, l, share) })
	}
	relay := w.start("RELAY_START=table")
	for kill := range l.kills {
		received := (kill + 1) * (l.orders + l.events) / (l.kills + 1)
		w.awaitReceived(received)
		relay.kill()
		relay = w.start("RELAY_START=table")
	}
	w.must(writing.Wait())
	written := time.Since(began)

	rows := readOutbox(w)
	if got := len(rows); got != l.orders+l.events {
		t.Fatalf("%d events were committed, want %d", got, l.orders+l.events)
	}
	w.eventually("every event has arrived", func() bool {
		arrived := map[string]bool{}
		for _, r := range w.broker.Received(w.queue.ARN) {
			arrived[attribute(r.Attributes, outbox.AttributeEventID)] = true
		}
		return len(arrived) >= len(rows)
	})
	relay.stop()
	duplicates := checkReceipts(t, w, rows)
	t.Logf("%d orders and %d events of %d aggregates written in %v, the relay killed %d times: all received after "+
		"%v, %d of them twice",
		l.orders, l.events, l.aggregates, written.Round(time.Millisecond), l.kills,
		time.Since(began).Round(time.Millisecond), duplicates)
}

// postOrders posts orders concurrently.
func postOrders(ctx context.Context, url string, l load) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range l.orders {
		group.Go(func() error {
			body := fmt.Sprintf(`{"customer_id":"customer-%d","currency":"EUR",`+
				`"lines":[{"sku":"sku-%d","quantity":%d,"unit_price":%d}]}`,
				i%97, i, 1+i%5, 100+i)
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/orders", bytes.NewBufferString(body))
			if err != nil {
				return err
			}
			request.Header.Set("Content-Type", "application/json")
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if answer, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusCreated {
				return fmt.Errorf("POST /orders: %s: %s", response.Status, answer)
			}
			return nil
		})
	}
	return group.Wait()
}

var errRolledBack = errors.New("rolled back on purpose")

// fact is the payload of an event of this test. Version numbers the committed events of an
// aggregate in commit order.
type fact struct {
	Aggregate string `json:"aggregate"`
	Version   int    `json:"version"`
	Committed bool   `json:"committed"`
	Padding   string `json:"padding"`
}

// writeEvents commits n events. Some transactions write several, some are rolled back, and some
// roll back to a savepoint.
func writeEvents(ctx context.Context, w *testEnv, l load, n int) error {
	for n > 0 {
		aggregate := strconv.Itoa(1 + rand.IntN(l.aggregates))
		size := min(n, 1+rand.IntN(4))
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			var version int
			if err := tx.QueryRow(ctx, `SELECT version FROM aggregates WHERE id = $1 FOR
				UPDATE`, aggregate).Scan(&version); err != nil {
				return err
			}
			if rand.IntN(5) == 0 { // a savepoint that is rolled back
				err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
					if err := insertFact(ctx, savepoint, fact{Aggregate: aggregate}); err != nil {
						return err
					}
					return errRolledBack
				})
				if !errors.Is(err, errRolledBack) {
					return err
				}
			}
			for i := range size {
				f := fact{Aggregate: aggregate, Version: version + i + 1, Committed: true}
				if rand.IntN(5) == 0 { // in its own subtransaction
					if err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
						return insertFact(ctx, savepoint, f)
					}); err != nil {
						return err
					}
					continue
				}
				if err := insertFact(ctx, tx, f); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, `UPDATE aggregates SET version = version + $2 WHERE id = $1`, aggregate, size)
			return err
		})
		if err != nil {
			return err
		}
		n -= size
		if rand.IntN(5) > 0 {
			continue
		}
		// a transaction that is rolled back
		err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			if err := insertFact(ctx, tx, fact{Aggregate: aggregate}); err != nil {
				return err
			}
			return errRolledBack
		})
		if !errors.Is(err, errRolledBack) {
			return err
		}
	}
	return nil
}

func insertFact(ctx context.Context, tx pgx.Tx, f fact) error {
	f.Padding = "ü☃"[:rand.IntN(2)*2]
	e, err := outbox.New("aggregate", f.Aggregate, "fact", f)
	if err != nil {
		return err
	}
	return outbox.Insert(ctx, tx, e)
}

// row is an event as its writer committed it.
type row struct{ id, aggregateType, payload string }

func readOutbox(w *testEnv) map[string]row {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `SELECT id::text, aggregate_type, payload::text FROM outbox_events`)
	w.must(err)
	all := map[string]row{}
	var r row
	_, err = pgx.ForEachRow(rows, []any{&r.id, &r.aggregateType, &r.payload}, func() error {
		all[r.id] = r
		return nil
	})
	w.must(err)
	return all
}

// checkReceipts compares the receipts of the destination with the committed rows. It returns the
// number of events that arrived more than once.
func checkReceipts(t *testing.T, w *testEnv, rows map[string]row) (duplicates int) {
	t.Helper()
	arrived := map[string]bool{}
	versions := map[string]int{}
	for _, r := range w.broker.Received(w.queue.ARN) {
		id := attribute(r.Attributes, outbox.AttributeEventID)
		written, committed := rows[id]
		switch {
		case !committed:
			t.Fatalf("event %s arrived and was never committed: %s", id, r.Body)
		case r.Body != written.payload:
			t.Fatalf("event %s arrived as %q, was written as %q", id, r.Body, written.payload)
		case r.DeduplicationID != id:
			t.Fatalf("event %s has deduplication id %s", id, r.DeduplicationID)
		case arrived[id]:
			duplicates++
			continue
		}
		arrived[id] = true
		if written.aggregateType != "aggregate" {
			continue
		}
		var f fact
		if err := json.Unmarshal([]byte(r.Body), &f); err != nil {
			t.Fatal(err)
		}
		if versions[f.Aggregate]++; f.Version != versions[f.Aggregate] {
			t.Fatalf("aggregate %s: version %d arrived, want %d", f.Aggregate, f.Version, versions[f.Aggregate])
		}
	}
	for id, written := range rows {
		if !arrived[id] {
			t.Fatalf("event %s was committed and never arrived: %s", id, written.payload)
		}
	}
	return duplicates
}
