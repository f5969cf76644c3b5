// Command createshipment is the Lambda function that writes a shipment for each event
// order.created of its queue.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/functions/internal/function"
	"github.com/outbox-relay/outbox-relay/functions/internal/largeevents"
	"github.com/outbox-relay/outbox-relay/functions/internal/shipment"
	"github.com/outbox-relay/outbox-relay/functions/internal/sqsbatch"
)

func main() {
	if err := run(context.Background(), os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "createshipment:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, getenv func(string) string, out io.Writer) error {
	fetch, err := largeevents.Fetch(ctx, getenv)
	if err != nil {
		return err
	}
	handler := func(pool *pgxpool.Pool, log *slog.Logger) sqsbatch.Handler {
		return shipment.Handler(pool, fetch, log)
	}
	return function.Run(ctx, "createshipment", getenv, out, handler)
}
