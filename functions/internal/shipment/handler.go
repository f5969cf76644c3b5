package shipment

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/events"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/functions/internal/sqsbatch"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// Handler returns the handler of the function createshipment. fetch reads the bodies of large
// events. After a batch without failures the handler removes old ids of the inbox.
func Handler(pool *pgxpool.Pool, fetch inbox.Fetch, log *slog.Logger) sqsbatch.Handler {
	store := NewStore(pool)
	process := sqsbatch.New(store.Create, fetch, log)
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
