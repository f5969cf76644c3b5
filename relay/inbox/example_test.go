package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
	"github.com/outbox-relay/outbox-relay/relay/inbox/migrations"
)

// The event arrives twice and is acted upon once. The shipment and the id of the event are
// committed together, or not at all.
func ExampleOnce() {
	ctx := context.Background()
	databaseURL, drop := warehouse(ctx)
	defer drop()
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()

	ship := func(event inbox.Event) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			isNew, err := inbox.Once(ctx, tx, "shipping", event)
			if err != nil || !isNew {
				return err
			}
			_, err = tx.Exec(ctx, `INSERT INTO shipments (order_id) VALUES ($1)`, event.AggregateID)
			return err
		})
	}
	event := inbox.Event{ID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", Type: "order.created", AggregateID: "4711"}
	for range 2 {
		if err := ship(event); err != nil {
			log.Fatal(err)
		}
	}
	printShipments(ctx, pool)
	// Output: shipment of order 4711
}

// A consumer on database/sql passes its *sql.Tx.
func ExampleOnceSQL() {
	ctx := context.Background()
	databaseURL, drop := warehouse(ctx)
	defer drop()
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()

	ship := func(event inbox.Event) (acted bool, err error) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return false, err
		}
		defer func() { _ = tx.Rollback() }() // no effect after Commit
		isNew, err := inbox.OnceSQL(ctx, tx, "shipping", event)
		if err != nil || !isNew {
			return false, err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO shipments (order_id) VALUES ($1)`, event.AggregateID)
		if err != nil {
			return false, err
		}
		return true, tx.Commit()
	}
	event := inbox.Event{ID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", Type: "order.created", AggregateID: "4711"}
	for range 2 {
		acted, err := ship(event)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("shipped:", acted)
	}
	// Output:
	// shipped: true
	// shipped: false
}

// The address of version 5 arrives after that of version 9, for example from a dead-letter queue.
func ExampleSkipStale() {
	ctx := context.Background()
	databaseURL, drop := warehouse(ctx)
	defer drop()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()

	for _, sequence := range []int64{3, 9, 5} {
		event := inbox.Event{
			ID: fmt.Sprint("address-", sequence), AggregateType: "customer", AggregateID: "17", Sequence: &sequence,
		}
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			isNew, err := inbox.Once(ctx, tx, "shipping", event, inbox.SkipStale())
			fmt.Printf("sequence %d is new: %t\n", sequence, isNew)
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// sequence 3 is new: true
	// sequence 9 is new: true
	// sequence 5 is new: false
}

// A message that the relay sent to the queue, or that came through a topic with raw message
// delivery.
func ExampleDecode() {
	event, err := inbox.Decode(inbox.Message{
		Body: `{"total":1999}`,
		Attributes: map[string]string{
			"event_id": "0198a6f0", "event_type": "order.created", "aggregate_type": "order", "aggregate_id": "4711",
			"occurred_at": "2026-11-23T20:38:55.123456Z", "sequence": "17", "tenant": "acme",
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(event.ID, event.Type, "of", event.AggregateType, event.AggregateID, "number", *event.Sequence)
	fmt.Println(event.OccurredAt, event.Headers)
	fmt.Printf("%s\n", event.Payload)
	// Output:
	// 0198a6f0 order.created of order 4711 number 17
	// 2026-11-23 20:38:55.123456 +0000 UTC map[tenant:acme]
	// {"total":1999}
}

// A message that came through a topic without raw message delivery.
func ExampleDecode_envelope() {
	event, err := inbox.Decode(inbox.Message{Body: `{
		"Type": "Notification", "MessageId": "a1", "TopicArn": "arn:aws:sns:eu-central-1:123456789012:orders",
		"Message": "{\"total\":1999}", "Timestamp": "2026-11-23T20:38:55.200Z",
		"MessageAttributes": {
			"event_id": {"Type": "String", "Value": "0198a6f0"},
			"event_type": {"Type": "String", "Value": "order.created"},
			"sequence": {"Type": "Number", "Value": "17"}
		}
	}`})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s %d %s\n", event.ID, event.Type, *event.Sequence, event.Payload)
	// Output: 0198a6f0 order.created 17 {"total":1999}
}

func ExampleDecode_error() {
	_, err := inbox.Decode(inbox.Message{
		Body: `{"total":1999}`, Attributes: map[string]string{"event_type": "order.created"},
	})
	problem, advice, _ := strings.Cut(err.Error(), ": request ")
	fmt.Println(problem)
	fmt.Println(advice)
	// Output:
	// decode message: no attribute event_id
	// all attributes (MessageAttributeNames: All), and check that the relay sent the message
}

// A program that a timer starts once a day calls Prune.
func ExamplePrune() {
	ctx := context.Background()
	databaseURL, drop := warehouse(ctx)
	defer drop()
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	_, err = pool.Exec(ctx, `INSERT INTO inbox_events (consumer, event_id, recorded_at) VALUES
		('shipping', 'of today', now()), ('shipping', 'of last month', now() - interval '61 days')`)
	if err != nil {
		log.Fatal(err)
	}

	removed, err := inbox.Prune(ctx, pool, 60*24*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("removed:", removed)
	// Output: removed: 1
}

// warehouse returns a database with the tables of the inbox and a table of shipments.
func warehouse(ctx context.Context) (databaseURL string, drop func()) {
	databaseURL, dropDatabase, err := pgtest.Database()
	if err != nil {
		log.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, _, err := migrations.Migrate(ctx, conn); err != nil {
		log.Fatal(err)
	}
	if _, err := conn.Exec(ctx, `CREATE TABLE shipments (order_id text NOT NULL)`); err != nil {
		log.Fatal(err)
	}
	return databaseURL, func() {
		if err := dropDatabase(); err != nil {
			log.Fatal(err)
		}
	}
}

func printShipments(ctx context.Context, pool *pgxpool.Pool) {
	rows, err := pool.Query(ctx, `SELECT order_id FROM shipments`)
	if err != nil {
		log.Fatal(err)
	}
	orders, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		log.Fatal(err)
	}
	for _, id := range orders {
		fmt.Println("shipment of order", id)
	}
}
