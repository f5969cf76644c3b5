package outbox_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// The order and its event are committed together, or not at all.
func ExampleInsert() {
	ctx := context.Background()
	databaseURL, drop := shop(ctx)
	defer drop()
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()

	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO orders (id, total) VALUES ($1, $2)`, "4711", 1999); err != nil {
			return err
		}
		event, err := outbox.New("order", "4711", "order.created", map[string]int{"total": 1999})
		if err != nil {
			return err
		}
		return outbox.Insert(ctx, tx, event)
	})
	if err != nil {
		log.Fatal(err)
	}
	printEvents(ctx, databaseURL)
	// Output: order 4711 order.created {"total":1999}
}

// Any number of events is one statement. The events of one aggregate are delivered in the order of
// the arguments.
func ExampleInsert_batch() {
	ctx := context.Background()
	databaseURL, drop := shop(ctx)
	defer drop()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()

	events := []outbox.Event{
		{AggregateType: "order", AggregateID: "4711", Type: "order.paid", Payload: json.RawMessage(`{"by":"card"}`)},
		{
			AggregateType: "order", AggregateID: "4711", Type: "order.shipped", Payload: json.RawMessage(`{}`),
			Headers: map[string]string{"tenant": "acme"},
		},
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return outbox.Insert(ctx, tx, events...) })
	if err != nil {
		log.Fatal(err)
	}
	printEvents(ctx, databaseURL)
	// Output:
	// order 4711 order.paid {"by":"card"}
	// order 4711 order.shipped {}
}

// A service on database/sql passes its *sql.Tx.
func ExampleInsertSQL() {
	ctx := context.Background()
	databaseURL, drop := shop(ctx)
	defer drop()
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()

	create := func(id string, total int) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // no effect after Commit
		if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id, total) VALUES ($1, $2)`, id, total); err != nil {
			return err
		}
		event, err := outbox.New("order", id, "order.created", map[string]int{"total": total})
		if err != nil {
			return err
		}
		if err := outbox.InsertSQL(ctx, tx, event); err != nil {
			return err
		}
		return tx.Commit()
	}
	if err := create("4711", 1999); err != nil {
		log.Fatal(err)
	}
	printEvents(ctx, databaseURL)
	// Output: order 4711 order.created {"total":1999}
}

// In gorm's Transaction, Statement.ConnPool is the transaction of database/sql. Outside of one it
// is the pool, which InsertSQL refuses.
func ExampleInsertSQL_gorm() {
	ctx := context.Background()
	databaseURL, drop := shop(ctx)
	defer drop()
	db, err := gorm.Open(postgres.Open(databaseURL), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		log.Fatal(err)
	}
	defer closeGORM(db)

	type order struct {
		ID    string
		Total int
	}
	err = db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		o := order{ID: "4711", Total: 1999}
		if err := tx.Create(&o).Error; err != nil {
			return err
		}
		event, err := outbox.New("order", o.ID, "order.created", map[string]int{"total": o.Total})
		if err != nil {
			return err
		}
		return outbox.InsertSQL(ctx, tx.Statement.ConnPool, event)
	})
	if err != nil {
		log.Fatal(err)
	}
	printEvents(ctx, databaseURL)
	// Output: order 4711 order.created {"total":1999}
}

// Without a table, the event is in the log alone. The order and its event are still committed
// together, or not at all.
func ExampleEmit() {
	ctx := context.Background()
	databaseURL, drop := shop(ctx)
	defer drop()
	committed, err := watchLog(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer committed.close()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()

	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO orders (id, total) VALUES ($1, $2)`, "4711", 1999); err != nil {
			return err
		}
		return outbox.Emit(ctx, tx, "outbox", outbox.Event{
			ID:            uuid.MustParse("0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11"),
			AggregateType: "order", AggregateID: "4711", Type: "order.created",
			Payload: json.RawMessage(`{"total": 1999}`),
		})
	})
	if err != nil {
		log.Fatal(err)
	}
	messages, err := committed.messages(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, message := range messages {
		fmt.Println(strings.ReplaceAll(message, `,"`, ",\n\""))
	}
	// Output:
	// outbox {"id":"0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11",
	// "aggregate_type":"order",
	// "aggregate_id":"4711",
	// "event_type":"order.created",
	// "headers":{},
	// "payload":{"total": 1999}}
}

// A service on database/sql passes its *sql.Tx.
func ExampleEmitSQL() {
	ctx := context.Background()
	databaseURL, drop := shop(ctx)
	defer drop()
	committed, err := watchLog(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer committed.close()
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()

	event := outbox.Event{Type: "order.created", Payload: json.RawMessage(`{}`)}
	for _, end := range []func(*sql.Tx) error{(*sql.Tx).Rollback, (*sql.Tx).Commit} {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			log.Fatal(err)
		}
		if err := outbox.EmitSQL(ctx, tx, "outbox", event); err != nil {
			log.Fatal(err)
		}
		if err := end(tx); err != nil {
			log.Fatal(err)
		}
		messages, err := committed.messages(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("messages:", len(messages))
	}
	// Output:
	// messages: 0
	// messages: 1
}

// Insert validates each event. Validate tells a service earlier, for example before it begins the
// transaction.
func ExampleEvent_Validate() {
	event := outbox.Event{
		Type:    "order.created",
		Payload: json.RawMessage(`{"total": }`),
	}
	fmt.Println(event.Validate())

	event.Payload = json.RawMessage(`{"total": 1999}`)
	event.Headers = map[string]string{"event_id": "1"}
	fmt.Println(event.Validate())

	event.Headers = map[string]string{"tenant": "acme"}
	fmt.Println(event.Validate())
	// Output:
	// payload is not JSON
	// header "event_id" has the name of one of the relay's own message attributes
	// <nil>
}

// shop returns a database with the outbox tables and a table of orders.
func shop(ctx context.Context) (databaseURL string, drop func()) {
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
	if _, err := conn.Exec(ctx, `CREATE TABLE orders (id text PRIMARY KEY, total int NOT NULL)`); err != nil {
		log.Fatal(err)
	}
	return databaseURL, func() {
		if err := dropDatabase(); err != nil {
			log.Fatal(err)
		}
	}
}

func printEvents(ctx context.Context, databaseURL string) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `
		SELECT concat_ws(' ', aggregate_type, aggregate_id, event_type, payload) FROM outbox_events ORDER BY seq`)
	if err != nil {
		log.Fatal(err)
	}
	events, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		log.Fatal(err)
	}
	for _, event := range events {
		fmt.Println(event)
	}
}

func closeGORM(db *gorm.DB) {
	if pool, err := db.DB(); err == nil {
		_ = pool.Close()
	}
}
