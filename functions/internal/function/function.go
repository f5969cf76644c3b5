// Package function runs an endpoint of the API as a Lambda function, with its settings, log and
// database.
package function

import (
	"context"
	"io"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/outbox-relay/outbox-relay/functions/internal/api"
	"github.com/outbox-relay/outbox-relay/functions/internal/database"
	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
)

// Endpoint returns a handler, for example [api.CreateOrder].
type Endpoint func(*order.Store, *slog.Logger) api.Handler

// Run serves the endpoint until Lambda ends the process. It returns an error if the settings are
// invalid.
func Run(ctx context.Context, getenv func(string) string, out io.Writer, endpoint Endpoint) error {
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
	lambda.StartWithOptions(endpoint(order.NewStore(pool), log), lambda.WithContext(ctx))
	return nil
}
