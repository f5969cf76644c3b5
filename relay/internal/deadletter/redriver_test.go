package deadletter_test

import (
	"os"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// TestLargeDeadLettersAreReadAFewAtATime, because a hundred of them could exceed the memory. One
// that is larger than the bound is read by itself.
func TestLargeDeadLettersAreReadAFewAtATime(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	park := func(id string, bytes int) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), `INSERT INTO outbox_dead_letters
				(event_id, outbox_table, destination, message_group, blocks_group, code, reason, attempts, event, state)
			VALUES ($1, 'public.outbox_events', 'orders', '', false, 'UnusableEvent', 'too long', 0,
				json_build_object('body', repeat('x', $2)), 'redriving')`, id, bytes); err != nil {
			t.Fatal(err)
		}
	}
	redriving := func() (ids string) {
		t.Helper()
		letters, err := deadletter.Redriving(t.Context(), pool, "relay", "public.outbox_events", "orders", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, letter := range letters {
			ids += letter.Message.EventID
		}
		return ids
	}
	park("a", 20<<20)
	park("b", 10<<20)
	if ids := redriving(); ids != "a" {
		t.Errorf("dead letters %s, want a", ids)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE outbox_dead_letters SET state = 'redriven'`); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"c", "d", "e"} {
		park(id, 10<<20)
	}
	park("f", 10)
	if ids := redriving(); ids != "cd" {
		t.Errorf("dead letters %s, want cd", ids)
	}
}
