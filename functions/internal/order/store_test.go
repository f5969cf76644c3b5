package order_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	orders "github.com/outbox-relay/outbox-relay/functions/internal/order/migrations"
	"github.com/outbox-relay/outbox-relay/functions/internal/order/ordertest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestOrderAndItsEventAreWrittenTogether(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := newStore(t, url)
	headers := map[string]string{outbox.HeaderTraceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	created, fresh, err := store.Create(limited(t), order.CreateRequest{Draft: coffee(2), Headers: headers})
	if err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	if got, want := count(t, url), (counts{Orders: 1, Lines: 2, Events: 1}); got != want {
		t.Errorf("rows %+v, want %+v", got, want)
	}
	read, err := store.Get(limited(t), "", created.ID)
	if diff := cmp.Diff(created, read); diff != "" || err != nil {
		t.Errorf("order read back (-created +read): %s, %v", diff, err)
	}
	var event struct {
		AggregateType, AggregateID, EventType, Payload string
		Headers                                        map[string]string
	}
	err = ordertest.Connect(t, url).QueryRow(t.Context(),
		`SELECT aggregate_type, aggregate_id, event_type, payload::text, headers FROM outbox_events`).
		Scan(&event.AggregateType, &event.AggregateID, &event.EventType, &event.Payload, &event.Headers)
	if err != nil {
		t.Fatal(err)
	}
	want := event
	payload, _ := json.Marshal(created)
	want.AggregateType, want.AggregateID, want.EventType = "order", created.ID.String(), "order.created"
	want.Payload, want.Headers = string(payload), headers
	if diff := cmp.Diff(want, event); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestFailureOfTheEventLeavesNoOrder(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	if _, err := ordertest.Connect(t, url).Exec(t.Context(),
		`ALTER TABLE outbox_events ADD CHECK (event_type <> 'order.created')`); err != nil {
		t.Fatal(err)
	}
	_, _, err := newStore(t, url).Create(limited(t), order.CreateRequest{Draft: coffee(1), IdempotencyKey: "k"})
	if unavailable := (*order.UnavailableError)(nil); err == nil || errors.As(err, &unavailable) {
		t.Errorf("error %v: a refused row is no reason to try again", err)
	}
	if got := count(t, url); got != (counts{}) {
		t.Errorf("rows %+v are left", got)
	}
}

func TestSameKeyReturnsTheSameOrderAndWritesNothing(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := newStore(t, url)
	request := order.CreateRequest{Draft: coffee(1), IdempotencyKey: "k"}
	first, fresh, err := store.Create(limited(t), request)
	if err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	before := count(t, url)
	again, fresh, err := store.Create(limited(t), request)
	if diff := cmp.Diff(first, again); diff != "" || fresh || err != nil {
		t.Errorf("created = %t, error %v, order (-first +again): %s", fresh, err, diff)
	}
	_, _, err = store.Create(limited(t), order.CreateRequest{Draft: coffee(2), IdempotencyKey: "k"})
	if !errors.Is(err, order.ErrKeyReused) {
		t.Errorf("another order under the same key: %v", err)
	}
	if after := count(t, url); after != before || before != (counts{Orders: 1, Lines: 2, Keys: 1, Events: 1}) {
		t.Errorf("rows %+v, then %+v", before, after)
	}
}

func TestManyRequestsInFlightWithOneKeyMakeOneOrder(t *testing.T) {
	t.Parallel()
	const requests = 12
	url := newDatabase(t)
	ctx := limited(t)
	var group errgroup.Group
	made, fresh := make([]order.Order, requests), make([]bool, requests)
	for i := range requests {
		store := newStore(t, url)
		group.Go(func() (err error) {
			made[i], fresh[i], err = store.Create(ctx, order.CreateRequest{Draft: coffee(1), IdempotencyKey: "k"})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	creators := 0
	for i := range requests {
		if made[i].ID != made[0].ID {
			t.Errorf("request %d got order %s, request 0 got %s", i, made[i].ID, made[0].ID)
		}
		if fresh[i] {
			creators++
		}
	}
	if got, want := count(t, url), (counts{Orders: 1, Lines: 2, Keys: 1, Events: 1}); got != want || creators != 1 {
		t.Errorf("%d requests made an order; rows %+v, want %+v", creators, got, want)
	}
}

// A request waits for another one in flight with the same key, and the outcome of that one decides.
func TestKeyIsTakenWhenTheRequestInFlightCommits(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	unlock := lockEvents(t, url)
	first := createInBackground(limited(t), t, url)
	awaitBlocked(t, url, 1)
	second := createInBackground(limited(t), t, url)
	awaitBlocked(t, url, 2)
	unlock()
	one, two := <-first, <-second
	if one.err != nil || two.err != nil || !one.created || two.created || one.order.ID != two.order.ID {
		t.Errorf("first %+v, second %+v", one, two)
	}
	if got, want := count(t, url), (counts{Orders: 1, Lines: 2, Keys: 1, Events: 1}); got != want {
		t.Errorf("rows %+v, want %+v", got, want)
	}
}

func TestKeyIsFreeWhenTheRequestInFlightRollsBack(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	unlock := lockEvents(t, url)
	givingUp, giveUp := context.WithCancel(limited(t))
	first := createInBackground(givingUp, t, url)
	awaitBlocked(t, url, 1)
	second := createInBackground(limited(t), t, url)
	awaitBlocked(t, url, 2)
	giveUp()
	one := <-first
	mustBeUnavailable(t, one.err)
	unlock()
	if two := <-second; two.err != nil || !two.created {
		t.Errorf("second %+v", two)
	}
	if got, want := count(t, url), (counts{Orders: 1, Lines: 2, Keys: 1, Events: 1}); got != want {
		t.Errorf("rows %+v, want %+v", got, want)
	}
}

// lockEvents blocks every request before its event, after order and key are written, until unlock
// is called.
func lockEvents(t *testing.T, url string) (unlock func()) {
	t.Helper()
	tx, err := ordertest.Connect(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE outbox_events`); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

type outcome struct {
	order   order.Order
	created bool
	err     error
}

func createInBackground(ctx context.Context, t *testing.T, url string) <-chan outcome {
	t.Helper()
	store := newStore(t, url)
	done := make(chan outcome, 1)
	go func() {
		o, created, err := store.Create(ctx, order.CreateRequest{Draft: coffee(1), IdempotencyKey: "k"})
		done <- outcome{o, created, err}
	}()
	return done
}

func awaitBlocked(t *testing.T, url string, sessions int) {
	t.Helper()
	conn := ordertest.Connect(t, url)
	for ctx := limited(t); ; time.Sleep(5 * time.Millisecond) {
		var blocked int
		const waiting = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND ` +
			`wait_event_type = 'Lock'`
		if err := conn.QueryRow(ctx, waiting).Scan(&blocked); err != nil {
			t.Fatalf("fewer than %d sessions wait for a lock: %v", sessions, err)
		}
		if blocked == sessions {
			return
		}
	}
}

func TestUnknownOrderIsNotFound(t *testing.T) {
	t.Parallel()
	_, err := newStore(t, newDatabase(t)).Get(limited(t), "", uuid.New())
	if !errors.Is(err, order.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

func TestSecondMigrationChangesNothing(t *testing.T) {
	t.Parallel()
	from, to, err := orders.Migrate(limited(t), ordertest.Connect(t, newDatabase(t)))
	if from != to || to == 0 || err != nil {
		t.Errorf("migrated from %d to %d: %v", from, to, err)
	}
}

func TestAKeyExpiresAndMakesAnotherOrder(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store, conn := newStore(t, url), ordertest.Connect(t, url)
	request := order.CreateRequest{Draft: coffee(1), Caller: "c", IdempotencyKey: "k"}
	age := func(interval string) {
		if _, err := conn.Exec(t.Context(), `UPDATE order_request_keys SET created_at = clock_timestamp() - `+
			`$1::text::interval`, interval); err != nil {
			t.Fatal(err)
		}
	}
	first, _, err := store.Create(limited(t), request)
	if err != nil {
		t.Fatal(err)
	}
	age("23 hours 59 minutes")
	if o, created, err := store.Create(limited(t), request); err != nil || created || o.ID != first.ID {
		t.Errorf("within a day: order %s, created %t, %v", o.ID, created, err)
	}
	age("24 hours 1 minute")
	request.Draft = coffee(2)
	second, created, err := store.Create(limited(t), request)
	if err != nil || !created || second.ID == first.ID {
		t.Fatalf("after a day: order %s, created %t, %v", second.ID, created, err)
	}
	if o, created, err := store.Create(limited(t), request); err != nil || created || o.ID != second.ID {
		t.Errorf("the new order's key: order %s, created %t, %v", o.ID, created, err)
	}
}

func TestExpiredKeysAreRemovedByNewOnes(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store, conn := newStore(t, url), ordertest.Connect(t, url)
	create := func(key string) {
		if _, _, err := store.Create(limited(t), order.CreateRequest{
			Draft:          coffee(1),
			IdempotencyKey: key,
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a", "b", "c"} {
		create(key)
	}
	if _, err := conn.Exec(t.Context(), `UPDATE order_request_keys SET created_at = created_at - interval '25 `+
		`hours' WHERE key <> 'c'`); err != nil {
		t.Fatal(err)
	}
	create("d")
	if got := count(t, url); got.Keys != 2 || got.Orders != 4 {
		t.Errorf("rows %+v: only keys that have expired go, and no order", got)
	}
}
