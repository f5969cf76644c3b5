// Command createorder is the Lambda function behind POST /orders.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/outbox-relay/outbox-relay/functions/internal/api"
	"github.com/outbox-relay/outbox-relay/functions/internal/database"
	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
)

func main() {
	if err := run(context.Background(), os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "createorder:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, getenv func(string) string, out io.Writer) error {
	s, err := settings.Load(getenv)
	if err != nil {
		return err
	}
	pool, err := database.Open(ctx, s)
	if err != nil {
		return err
	}
	defer pool.Close()
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: s.LogLevel}))
	lambda.StartWithOptions(api.CreateOrder(order.NewStore(pool), log), lambda.WithContext(ctx))
	return nil
}
