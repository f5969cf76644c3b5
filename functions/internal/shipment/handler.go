package shipment

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/events"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/functions/internal/sqsbatch"
)

// Handler returns the handler of the function createshipment. After a batch without failures it
// removes old ids of the inbox.
func Handler(pool *pgxpool.Pool, log *slog.Logger) sqsbatch.Handler {
	store := NewStore(pool)
	process := sqsbatch.New(store.Create, log)
	return func(ctx context.Context, batch events.SQSEvent) (events.SQSEventResponse, error) {
		response, err := process(ctx, batch)
		if err != nil || len(response.BatchItemFailures) > 0 {
			return response, err
		}
		if err := store.Prune(ctx); err != nil { // the events are processed, so the batch is
			log.LogAttrs(ctx, slog.LevelWarn, "old ids of the inbox stay until the next batch", slog.Any("err", err))
		}
		return response, nil
	}
}
