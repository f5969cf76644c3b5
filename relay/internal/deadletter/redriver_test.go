package deadletter_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// redrives is a running Redriver, and the dead letters that it hands to delivery.
type redrives struct {
	t    *testing.T
	pool *pgxpool.Pool
	sent chan string // their event ids

	mu       sync.Mutex
	inFlight int // bytes
}

func newRedrives(t *testing.T) *redrives {
	t.Helper()
	return &redrives{t: t, pool: outboxtest.NewPool(t), sent: make(chan string, 10)}
}

// start starts the Redriver, which the end of the test awaits.
func (r *redrives) start() {
	r.t.Helper()
	redriver := &deadletter.Redriver{
		Pool: r.pool, Slot: "relay", Table: "public.outbox_events", Destinations: []string{"orders"},
		Timeout: 30 * time.Second, Send: r.send,
		RefuseMoved: func(context.Context, []string) error { return nil },
		Counted:     func(int64) {},
	}
	ended := make(chan error)
	go func() { ended <- redriver.Run(r.t.Context()) }()
	r.t.Cleanup(func() {
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	})
}

// send fails the test if a dead letter is sent beside others that together exceed 8 MiB.
func (r *redrives) send(_ int, events ...*delivery.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := events[0].Message
	if r.inFlight > 0 && r.inFlight+len(m.Body) > 8<<20 {
		r.t.Errorf("sent %s of %d bytes while %d are in flight", m.EventID, len(m.Body), r.inFlight)
	}
	r.inFlight += len(m.Body)
	r.sent <- m.EventID
}

// redriven marks dead letters as delivered.
func (r *redrives) redriven(ids string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight = 0
	r.exec(`UPDATE outbox_dead_letters SET state = 'redriven' WHERE strpos($1, event_id) > 0`, ids)
}

func (r *redrives) exec(sql string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *redrives) park(id string, bytes int) {
	r.t.Helper()
	r.exec(`INSERT INTO outbox_dead_letters
			(event_id, outbox_table, destination, message_group, blocks_group, code, reason, attempts, event, state)
		VALUES ($1, 'public.outbox_events', 'orders', '', false, 'UnusableEvent', 'too long', 0,
			json_build_object('body', repeat('x', $2)), 'redriving')`, id, bytes)
}

func (r *redrives) await(ids string) {
	r.t.Helper()
	for _, id := range ids {
		select {
		case got := <-r.sent:
			if got != string(id) {
				r.t.Fatalf("sent %s, want %c of %s", got, id, ids)
			}
		case <-time.After(2 * time.Minute):
			r.t.Fatalf("%c of %s was not sent", id, ids)
		}
	}
}

// TestLargeDeadLettersAreRedrivenOneByOne, because several could exceed the memory. Others go
// together as long as their sum is within the bound.
func TestLargeDeadLettersAreRedrivenOneByOne(t *testing.T) {
	t.Parallel()
	r := newRedrives(t)
	r.park("a", 9<<20)
	r.park("b", 5<<20)
	r.park("c", 1<<20)
	r.park("d", 9<<20)
	r.park("e", 10)
	r.start()
	for _, ids := range []string{"a", "bc", "d", "e"} {
		r.await(ids)
		r.redriven(ids)
	}
}

// TestADeadLetterInFlightIsNotReadAgain, because the relay would hold it twice. The Redriver cannot
// read the event that replaces it.
func TestADeadLetterInFlightIsNotReadAgain(t *testing.T) {
	t.Parallel()
	r := newRedrives(t)
	r.park("a", 10)
	r.start()
	r.await("a")
	r.exec(`UPDATE outbox_dead_letters SET event = '"unreadable"'`)
	r.park("b", 10)
	r.await("b")
}
