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
	"github.com/outbox-relay/outbox-relay/functions/internal/tracing"
)

// Run serves the handler that build returns until Lambda ends the process. name is that of the
// service in traces. Run returns an error if the settings are invalid.
func Run[In, Out any, H ~func(context.Context, In) (Out, error)](ctx context.Context, name string,
	getenv func(string) string, out io.Writer, build func(*pgxpool.Pool, *slog.Logger) H,
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
	flush, err := tracing.Open(ctx, getenv, name)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: s.LogLevel}))
	handle := build(pool, log)
	lambda.StartWithOptions(func(ctx context.Context, in In) (Out, error) {
		defer flush(ctx)
		return handle(ctx, in)
	}, lambda.WithContext(ctx))
	return nil
}
