package order_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	"github.com/outbox-relay/outbox-relay/functions/internal/order/ordertest"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

const patience = 20 * time.Second

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// newDatabase returns the URL of a database with both parts of the schema.
func newDatabase(t *testing.T) string {
	t.Helper()
	return ordertest.Migrate(t, pgtest.NewDatabase(t))
}

// newStore returns a store with one connection, as in a Lambda process.
func newStore(t *testing.T, url string) *order.Store {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return order.NewStore(pool)
}

// counts are the row counts of every table that an order is written to.
type counts struct{ Orders, Lines, Keys, Events int }

func count(t *testing.T, url string) (c counts) {
	t.Helper()
	err := ordertest.Connect(t, url).QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_lines),
		       (SELECT count(*) FROM order_request_keys), (SELECT count(*) FROM outbox_events)`).
		Scan(&c.Orders, &c.Lines, &c.Keys, &c.Events)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func coffee(quantity int64) order.Draft {
	return order.Draft{
		CustomerID: "customer-1", Currency: "EUR",
		Lines: []order.Line{
			{SKU: "coffee", Quantity: quantity, UnitPrice: 1250},
			{SKU: "filter", Quantity: 1, UnitPrice: 0},
		},
	}
}
