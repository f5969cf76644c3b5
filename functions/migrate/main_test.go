package main

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	"github.com/outbox-relay/outbox-relay/functions/internal/shipment"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// left is printed if the role may not create roles.
var left = regexp.MustCompile(`this role lacks the privileges for a statement: .*\n`)

func TestEveryPartIsMigratedAndTold(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	var out bytes.Buffer
	for range 2 {
		if err := run(t.Context(), func(name string) string { return map[string]string{"DATABASE_URL": url}[name] },
			&out); err != nil {
			t.Fatal(err)
		}
	}
	printed := regexp.MustCompile(`(\w+) schema: version (\d+), was (\d+)\n`).
		FindAllStringSubmatch(left.ReplaceAllString(out.String(), ""), -1)
	if len(printed) != 8 {
		t.Fatalf("printed %s", &out)
	}
	for i, name := range []string{"outbox", "orders", "inbox", "shipments"} {
		first, second := printed[i], printed[i+4]
		if first[1] != name || first[3] != "0" || second[1] != name || second[2] != first[2] || second[3] != first[2] {
			t.Errorf("%s: printed %s", name, &out)
		}
	}
}

func TestMissingSettingIsNamed(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), func(string) string { return "" }, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("error %v", err)
	}
}

func TestFunctionsNeedNoMoreThanTheRoleOfProducers(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{})
	var out bytes.Buffer
	environment := map[string]string{"DATABASE_URL": server.URL("postgres", pgtest.Superuser)}
	if err := run(t.Context(), func(name string) string { return environment[name] }, &out); err != nil ||
		left.MatchString(out.String()) {
		t.Fatalf("%v: %s", err, &out)
	}
	pool, err := pgxpool.New(t.Context(), server.URL("postgres", migrations.Producer))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	store := order.NewStore(pool)
	draft := order.Draft{
		CustomerID: "customer-1", Currency: "EUR",
		Lines: []order.Line{{SKU: "book", Quantity: 1, UnitPrice: 1999}},
	}
	for _, fresh := range []bool{true, false} {
		o, created, err := store.Create(t.Context(), order.CreateRequest{Draft: draft, IdempotencyKey: "key"})
		if err != nil || created != fresh {
			t.Fatalf("created %v: %v", created, err)
		}
		if _, err := store.Get(t.Context(), "", o.ID); err != nil {
			t.Error(err)
		}
	}
	if err := createShipment(t, pool); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`UPDATE shipments SET lines = 2`, `DELETE FROM shipments`, `SELECT FROM inbox_aggregates`,
		`SELECT FROM inbox_schema_version`, `SELECT FROM shipments_schema_version`,
		`UPDATE orders SET total = 0`, `DELETE FROM orders`, `TRUNCATE orders CASCADE`, `UPDATE order_lines SET ` +
			`quantity = 1`, `DELETE FROM order_lines`,
		`UPDATE order_idempotency_keys SET key = 'other'`, `DELETE FROM order_idempotency_keys`,
		`SELECT FROM orders_schema_version`,
		`DELETE FROM outbox_events`, `SELECT payload FROM outbox_events`, `DROP TABLE orders`,
	} {
		_, err := pool.Exec(t.Context(), statement)
		if refused := (*pgconn.PgError)(nil); !errors.As(err, &refused) || refused.Code != "42501" {
			t.Errorf("%s is not refused as it ought to be: %v", statement, err)
		}
	}
}

// createShipment does all that the function createshipment does in the database.
func createShipment(t *testing.T, pool *pgxpool.Pool) error {
	t.Helper()
	payload, err := os.ReadFile("../internal/shipment/testdata/order.json")
	if err != nil {
		return err
	}
	shipments := shipment.NewStore(pool)
	event := inbox.Event{ID: "1", Type: order.EventCreated, Payload: payload}
	return errors.Join(shipments.Create(t.Context(), event), shipments.Prune(t.Context()))
}
