package order_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	"github.com/outbox-relay/outbox-relay/functions/internal/order/ordertest"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

func mustBeUnavailable(t *testing.T, err error) {
	t.Helper()
	if unavailable := (*order.UnavailableError)(nil); !errors.As(err, &unavailable) {
		t.Errorf("error %v is not an UnavailableError", err)
	}
}

func TestLockedTableMakesTheStoreUnavailableInTime(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	unlock := lockEvents(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, _, err := newStore(t, url).Create(ctx, order.CreateRequest{Draft: coffee(1), IdempotencyKey: "k"})
	mustBeUnavailable(t, err)
	unlock()
	if got := count(t, url); got != (counts{}) {
		t.Errorf("rows %+v are left", got)
	}
}

func TestLackOfConnectionsMakesTheStoreUnavailable(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	admin := ordertest.Connect(t, pgtest.SuperuserURL(t, url))
	_, err := admin.Exec(t.Context(), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 0', `+
		`current_database()); END $$`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newStore(t, url).Get(limited(t), "", uuid.New())
	mustBeUnavailable(t, err) // 53300
}

func TestDeadServerMakesTheStoreUnavailable(t *testing.T) {
	t.Parallel()
	// Nothing listens on port 1.
	_, err := newStore(t, "postgres://outbox@127.0.0.1:1/outbox").Get(limited(t), "", uuid.New())
	mustBeUnavailable(t, err)
}

func TestMissingTableIsNoReasonToTryAgain(t *testing.T) {
	t.Parallel()
	_, err := newStore(t, pgtest.NewDatabase(t)).Get(limited(t), "", uuid.New())
	if unavailable := (*order.UnavailableError)(nil); err == nil || errors.As(err, &unavailable) {
		t.Errorf("error %v", err)
	}
}
