package migrations_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/inbox/migrations"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// A consumer that migrates its own schema at its start can migrate the inbox too. Concurrent calls
// do the work once.
func ExampleMigrate() {
	ctx := context.Background()
	databaseURL, drop, err := pgtest.Database()
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = drop() }()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()

	for range 2 {
		from, to, err := migrations.Migrate(ctx, conn)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("new: %t, changed: %t\n", from == 0, from != to)
	}
	// Output:
	// new: true, changed: true
	// new: false, changed: false
}
