package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

// TestABusyAggregateDelaysNoOther writes 600 events a second for BUSY_MINUTES to a FIFO destination
// that takes 15 ms for each request. One aggregate gets 100 of them, and at most 66 can be sent.
// After half of the time another one gets 50,000 events at once. The 500 events a second of all
// other aggregates must not wait for them. The test prints how long these take from before their
// commit to their arrival.
func TestABusyAggregateDelaysNoOther(t *testing.T) {
	minutes := number(t, "BUSY_MINUTES", 0)
	if minutes == 0 {
		t.Skip("takes minutes: make busy-aggregate runs it")
	}
	arrived := &delays{}
	w := newBareEnv(t, outboxtest.NewDatabase(t, 0), "orders.fifo",
		fakeaws.Options{Retain: 1000, Accepted: arrived.add})
	w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(15*time.Millisecond))
	p := w.startShipped()
	end := time.Now().Add(time.Duration(minutes) * time.Minute)
	writers, ctx := errgroup.WithContext(t.Context())
	writers.Go(func() error { return w.writeTimed(ctx, end, "busy", "'1'", 1) })
	writers.Go(func() error { return w.writeTimed(ctx, end, "other", "(random() * 9999)::int::text", 5) })
	time.AfterFunc(time.Until(end)/2, func() {
		writers.Go(func() error { return w.insertTimed(ctx, "burst", "'1'", 50_000) })
	})
	for left := minutes - 1; left >= 0; left-- {
		time.Sleep(time.Until(end.Add(-time.Duration(left) * time.Minute)))
		now, peak := p.memory()
		t.Logf("%3d min: %s, memory %.1f MB, at most %.1f MB", minutes-left, arrived, megabytes(now), megabytes(peak))
	}
	w.must(writers.Wait())
	busy := arrived.count("busy")
	written := w.query(`SELECT count(*)::text FROM outbox_events WHERE aggregate_type = 'other'`)
	w.eventually("the others' events have arrived", func() bool {
		return fmt.Sprint(arrived.count("other")) == written
	})
	t.Logf("%s; %.1f events a second of the busy aggregate; memory at most %.1f MB", arrived,
		float64(busy)/60/float64(minutes), megabytes(p.checkMemory()))
	if p99 := arrived.percentile(99); p99 > time.Second {
		t.Errorf("one of a hundred of the others' events took more than %v", p99)
	}
}

// writeTimed commits this number of events every 10 ms until end.
func (w *testEnv) writeTimed(ctx context.Context, end time.Time, aggregateType, aggregateID string, number int) error {
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	for time.Now().Before(end) {
		<-ticks.C
		if err := w.insertTimed(ctx, aggregateType, aggregateID, number); err != nil {
			return err
		}
	}
	return nil
}

// insertTimed commits events that contain the time before their transaction. aggregateID is SQL.
func (w *testEnv) insertTimed(ctx context.Context, aggregateType, aggregateID string, number int) error {
	_, err := w.pool.Exec(ctx, `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), $1, `+aggregateID+`, 't', json_build_object('type', $1::text, 'written', $2::bigint)
		FROM generate_series(1, $3)`, aggregateType, time.Now().UnixMicro(), number)
	return err
}

// delays are the times from before the commits of events to their arrival.
type delays struct {
	mu     sync.Mutex
	counts map[string]int  // arrived events by aggregate type
	others []time.Duration // of the type other
}

func (d *delays) add(_ string, r fakeaws.Receipt) {
	now := time.Now()
	var body struct {
		Type    string
		Written int64
	}
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil {
		panic(err) // the test itself wrote the body
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = map[string]int{}
	}
	d.counts[body.Type]++
	if body.Type == "other" {
		d.others = append(d.others, now.Sub(time.UnixMicro(body.Written)))
	}
}

func (d *delays) count(aggregateType string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[aggregateType]
}

// percentile returns the shortest time that p per cent of the others' events did not exceed.
func (d *delays) percentile(p int) time.Duration {
	d.mu.Lock()
	sorted := slices.Sorted(slices.Values(d.others))
	d.mu.Unlock()
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*p+99)/100-1].Round(100 * time.Microsecond)
}

func (d *delays) String() string {
	return fmt.Sprintf("%d events of others arrived, half within %v, 99 of 100 within %v, all within %v",
		d.count("other"), d.percentile(50), d.percentile(99), d.percentile(100))
}
