package inbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

const (
	killedEvents     = 15
	killedAggregates = 3
)

// TestKilledConsumersActOnce: consumers receive the same events at once, in any order and several
// times, and are killed at any point of their transaction.
func TestKilledConsumersActOnce(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]inbox.Option{"Once": nil, "SkipStale": {inbox.SkipStale()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, url := newInbox(t)
			if _, err := pool.Exec(t.Context(), `CREATE TABLE shipments (event_id text, aggregate text, sequence bigint,
				position bigint GENERATED ALWAYS AS IDENTITY)`); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for i := range 4 {
				all.Go(func() {
					c := consumer{url: url, random: rand.New(rand.NewPCG(uint64(i), 22)), options: options}
					if err := c.run(t.Context()); err != nil {
						t.Errorf("consumer %d: %v", i, err)
					}
				})
			}
			all.Wait()
			checkShipments(t, pool, options != nil)
		})
	}
}

// consumer receives every event twice or more.
type consumer struct {
	url     string
	random  *rand.Rand
	options []inbox.Option
}

func (c *consumer) run(ctx context.Context) error {
	for range 2 {
		for _, n := range c.random.Perm(killedEvents) {
			event := inbox.Event{
				ID: fmt.Sprint(n), AggregateType: "order", AggregateID: fmt.Sprint(n % killedAggregates),
				Sequence: new(int64(n)),
			}
			for deleted := false; !deleted; {
				var err error
				if deleted, err = c.ship(ctx, event); err != nil {
					return fmt.Errorf("event %d: %w", n, err)
				}
			}
		}
	}
	return nil
}

// ship acts upon an event on a connection of its own, which is cut at a random point. Where the
// message is not deleted, the queue delivers it again.
func (c *consumer) ship(ctx context.Context, event inbox.Event) (deleted bool, err error) {
	conn, err := pgx.Connect(ctx, c.url)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	isNew, err := inbox.Once(ctx, tx, "shipping", event, c.options...)
	if err != nil {
		return false, err
	}
	if c.random.IntN(4) == 0 {
		return false, cut(conn)
	}
	if isNew {
		_, err := tx.Exec(ctx, `INSERT INTO shipments (event_id, aggregate, sequence) VALUES ($1, $2, $3)`,
			event.ID, event.AggregateID, event.Sequence)
		if err != nil {
			return false, err
		}
	}
	if c.random.IntN(4) == 0 {
		return false, cut(conn)
	}
	if err := tx.Commit(ctx); err != nil {
		return false, err
	}
	return c.random.IntN(4) > 0, nil // the consumer may be killed before it deletes the message
}

// checkShipments checks that each event was acted upon once. Where stale events are skipped, it
// checks that the sequences of each aggregate increase up to the last one, instead of their number:
// position is given out under the lock of the aggregate.
func checkShipments(t *testing.T, pool *pgxpool.Pool, staleSkipped bool) {
	t.Helper()
	var shipped, different, decreasing, newest int
	err := pool.QueryRow(t.Context(), `
		SELECT count(*), count(DISTINCT event_id), count(*) FILTER (WHERE sequence <= before),
		       count(*) FILTER (WHERE sequence >= $1)
		FROM (SELECT *, lag(sequence) OVER (PARTITION BY aggregate ORDER BY position) AS before FROM shipments) s`,
		killedEvents-killedAggregates).Scan(&shipped, &different, &decreasing, &newest)
	if err != nil || shipped != different || newest != killedAggregates {
		t.Errorf("%d shipments of %d events, %d of the newest: %v", shipped, different, newest, err)
	}
	if staleSkipped && decreasing > 0 || !staleSkipped && shipped != killedEvents {
		t.Errorf("%d shipments, %d of them after a later one of their aggregate", shipped, decreasing)
	}
}
