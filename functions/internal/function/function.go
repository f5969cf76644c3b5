// Package function runs a handler as a Lambda function, with its settings, log and database.
package function

import (
	"context"
	"io"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/functions/internal/database"
	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
)

// Run serves the handler that build returns until Lambda ends the process. It returns an error if
// the settings are invalid.
func Run[H any](ctx context.Context, getenv func(string) string, out io.Writer,
	build func(*pgxpool.Pool, *slog.Logger) H,
) error {
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
	lambda.StartWithOptions(build(pool, log), lambda.WithContext(ctx))
	return nil
}
