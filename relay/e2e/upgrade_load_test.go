package e2e_test

import (
	"cmp"
	"context"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// TestNoEventIsLostByAnUpgrade: a relay of an older version is killed under load, with its own
// schema and the checkpoint that it wrote there. The schema is migrated and a new relay continues,
// while the writers continue too. OLDER_RELAY is the older program, as `make upgrade` builds it. By
// default it is the relay itself.
func TestNoEventIsLostByAnUpgrade(t *testing.T) {
	t.Parallel()
	older := cmp.Or(os.Getenv("OLDER_RELAY"), relayBinary)
	w := newBareEnv(t, pgtest.NewDatabase(t), "orders.fifo", fakeaws.Options{})
	if err := w.launch(older, nil, "migrate").wait(); err != nil {
		t.Fatalf("the older relay does not migrate: %v", err)
	}
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	var written atomic.Int64
	done := make(chan error, 1)
	old := w.startBinary(older)
	old.awaitLog("streaming")
	go func() { done <- w.writeCounted(writing, &written) }()
	w.awaitReceived(200)
	old.kill()

	if out, err := w.command(nil, "migrate"); err != nil {
		t.Fatalf("migrate: %v: %s", err, out)
	}
	w.startStreaming()
	w.awaitReceived(len(w.broker.Received(w.queue.ARN)) + 200)
	stop()
	w.must(<-done)
	n := int(written.Load())
	w.eventually("every event has arrived", func() bool { return len(w.firstNumbers()) == n })
	for i, number := range w.firstNumbers() {
		if number != i+1 {
			t.Fatalf("event %d arrived after %d others", number, i)
		}
	}
	if letters := w.deadLetters(); letters != "" {
		t.Errorf("dead letters: %s", letters)
	}
}

// writeCounted writes numbered events of one aggregate until ctx ends.
func (w *testEnv) writeCounted(ctx context.Context, written *atomic.Int64) error {
	for ctx.Err() == nil {
		_, err := w.pool.Exec(context.WithoutCancel(ctx), `
			INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
			VALUES (gen_random_uuid(), 'order', '1', 't', to_json($1::int))`, written.Load()+1)
		if err != nil {
			return err
		}
		written.Add(1)
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// firstNumbers returns the numbers that have arrived, each where it arrived first.
func (w *testEnv) firstNumbers() []int {
	w.t.Helper()
	var numbers []int
	seen := map[int]bool{}
	for _, r := range w.broker.Received(w.queue.ARN) {
		number, err := strconv.Atoi(r.Body)
		w.must(err)
		if !seen[number] {
			seen[number] = true
			numbers = append(numbers, number)
		}
	}
	return numbers
}
