// Command getorder is the Lambda function behind GET /orders/{id}.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/functions/internal/api"
	"github.com/outbox-relay/outbox-relay/functions/internal/function"
	"github.com/outbox-relay/outbox-relay/functions/internal/order"
)

func main() {
	if err := function.Run(context.Background(), "getorder", os.Getenv, os.Stdout, handler); err != nil {
		fmt.Fprintln(os.Stderr, "getorder:", err)
		os.Exit(1)
	}
}

func handler(pool *pgxpool.Pool, log *slog.Logger) api.Handler {
	return api.GetOrder(order.NewStore(pool), log)
}
