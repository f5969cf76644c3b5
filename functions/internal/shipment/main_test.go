package shipment_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/functions/internal/database"
	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	"github.com/outbox-relay/outbox-relay/functions/internal/order/ordertest"
	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
	shipments "github.com/outbox-relay/outbox-relay/functions/internal/shipment/migrations"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
	inboxmigrations "github.com/outbox-relay/outbox-relay/relay/inbox/migrations"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// newDatabase returns the URL of a database with the shipments and the inbox.
func newDatabase(t *testing.T) string {
	t.Helper()
	url := pgtest.NewDatabase(t)
	conn := ordertest.Connect(t, url)
	if _, _, err := inboxmigrations.Migrate(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if _, _, err := shipments.Migrate(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	return url
}

// open returns the pool of a function whose database is at url.
func open(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	s, err := settings.Load(func(name string) string {
		return map[string]string{settings.DatabaseURL: url}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := database.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// created returns the event of an order.
func created(t *testing.T, id string) inbox.Event {
	t.Helper()
	payload, err := os.ReadFile("testdata/order.json")
	if err != nil {
		t.Fatal(err)
	}
	return inbox.Event{ID: id, Type: order.EventCreated, Payload: payload}
}

// sample returns the event for `sam local invoke`.
func sample(t *testing.T) events.SQSEvent {
	t.Helper()
	text, err := os.ReadFile("../../createshipment/event.json")
	if err != nil {
		t.Fatal(err)
	}
	var event events.SQSEvent
	if err := json.Unmarshal(text, &event); err != nil {
		t.Fatal(err)
	}
	return event
}

// rows are the row counts of the tables that the function writes to.
type rows struct{ Shipments, Orders, IDs int }

func count(t *testing.T, url string) (r rows) {
	t.Helper()
	err := ordertest.Connect(t, url).QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM shipments), (SELECT count(DISTINCT order_id) FROM shipments),
		       (SELECT count(*) FROM inbox_events)`).Scan(&r.Shipments, &r.Orders, &r.IDs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// begin returns a transaction of another session.
func begin(t *testing.T, url string) pgx.Tx {
	t.Helper()
	tx, err := ordertest.Connect(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func newLog() (*slog.Logger, *bytes.Buffer) {
	var log bytes.Buffer
	return slog.New(slog.NewJSONHandler(&log, nil)), &log
}

const usual = 10 * time.Second
