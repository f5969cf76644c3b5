package shipment_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/functions/internal/order/ordertest"
	"github.com/outbox-relay/outbox-relay/functions/internal/shipment"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

func TestRepeatedEventWritesOneShipment(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := shipment.NewStore(open(t, url))
	for range 3 {
		if err := store.Create(t.Context(), created(t, "1")); err != nil {
			t.Fatal(err)
		}
	}
	var orderID, customer string
	var lines int
	err := ordertest.Connect(t, url).QueryRow(t.Context(),
		`SELECT order_id::text, customer_id, lines FROM shipments`).Scan(&orderID, &customer, &lines)
	if err != nil || orderID != "01937b4e-7d4a-7c3e-9f57-0a8a3c1d2e4f" || customer != "customer-1" || lines != 2 {
		t.Errorf("shipment of order %s for %s with %d lines: %v", orderID, customer, lines, err)
	}
	if got := count(t, url); got != (rows{1, 1, 1}) {
		t.Errorf("rows %+v", got)
	}
}

// TestConcurrentProcessesWriteOneShipment: Lambda may run several processes for one message.
func TestConcurrentProcessesWriteOneShipment(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	var processes errgroup.Group
	for range 8 {
		store := shipment.NewStore(open(t, url))
		processes.Go(func() error { return store.Create(t.Context(), created(t, "1")) })
	}
	if err := processes.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := count(t, url); got != (rows{1, 1, 1}) {
		t.Errorf("rows %+v", got)
	}
}

func TestFailedShipmentLeavesTheEventNew(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	conn := ordertest.Connect(t, url)
	execute := func(statement string) {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	store := shipment.NewStore(open(t, url))
	execute(`ALTER TABLE shipments ADD CONSTRAINT broken CHECK (lines < 0)`)
	if err := store.Create(t.Context(), created(t, "1")); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("error %v", err)
	}
	if got := count(t, url); got != (rows{}) {
		t.Errorf("rows %+v are left", got)
	}
	execute(`ALTER TABLE shipments DROP CONSTRAINT broken`)
	if err := store.Create(t.Context(), created(t, "1")); err != nil {
		t.Fatal(err)
	}
	if got := count(t, url); got != (rows{1, 1, 1}) {
		t.Errorf("rows %+v", got)
	}
}

func TestForeignEventIsIgnored(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	foreign := inbox.Event{ID: "1", Type: "order.cancelled", Payload: []byte("no JSON")}
	if err := shipment.NewStore(open(t, url)).Create(t.Context(), foreign); err != nil {
		t.Errorf("error %v", err)
	}
	if got := count(t, url); got != (rows{}) {
		t.Errorf("rows %+v", got)
	}
}

func TestPayloadWithoutOrderIsRefused(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := shipment.NewStore(open(t, url))
	for payload, want := range map[string][]string{
		`"secret"`:       {"decode the payload of event 1"},
		`{}`:             {"no id", "no customer_id", "no lines"},
		`{"id":"secret`:  {"decode the payload of event 1"},
		`{"lines":[{}]}`: {"no id", "no customer_id"},
	} {
		event := created(t, "1")
		event.Payload = []byte(payload)
		err := store.Create(t.Context(), event)
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: error %v, want %q", payload, err, part)
			}
		}
	}
	if got := count(t, url); got != (rows{}) {
		t.Errorf("rows %+v", got)
	}
}

func TestIDsThatCannotArriveAgainAreRemoved(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	if _, err := ordertest.Connect(t, url).Exec(t.Context(), `
		INSERT INTO inbox_events (consumer, event_id, recorded_at)
		SELECT 'shipping', days::text, now() - days * interval '1 day' FROM unnest('{59, 61}'::int[]) AS days`,
	); err != nil {
		t.Fatal(err)
	}
	handler, _ := newHandler(t, url, withoutBucket(t))
	ctx, cancel := context.WithTimeout(t.Context(), usual)
	defer cancel()
	for range 2 {
		if response, err := handler(ctx, sample(t)); err != nil || len(response.BatchItemFailures) > 0 {
			t.Fatalf("%+v, %v", response, err)
		}
	}
	if got := count(t, url); got != (rows{1, 1, 2}) {
		t.Errorf("rows %+v, want the shipment of the sample, its id and the younger one", got)
	}
}

// TestALateBatchLeavesItsTimeToTheAnswer: the next batch removes old ids.
func TestALateBatchLeavesItsTimeToTheAnswer(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	if _, err := ordertest.Connect(t, url).Exec(t.Context(), `
		INSERT INTO inbox_events (consumer, event_id, recorded_at)
		VALUES ('shipping', 'old', now() - interval '61 days')`,
	); err != nil {
		t.Fatal(err)
	}
	store := shipment.NewStore(open(t, url))
	late, cancel := context.WithTimeout(t.Context(), 2900*time.Millisecond)
	defer cancel()
	for i, ctx := range []context.Context{late, t.Context()} {
		if err := store.Prune(ctx); err != nil {
			t.Fatal(err)
		}
		if got := count(t, url); got != (rows{0, 0, 1 - i}) {
			t.Errorf("call %d: rows %+v", i, got)
		}
	}
}
