package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/functions/internal/database"
	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const (
	// patience is the time that a failover can take, which is no reason to roll a deployment back.
	patience = 2 * time.Minute
	// pause is the time between two attempts.
	pause = time.Second
)

// await connects. It retries while the database does not answer, until patience or ctx ends. A
// definite refusal, such as a wrong password, ends it at once.
func await(ctx context.Context, s settings.Settings) (*pgx.Conn, error) {
	for deadline := time.Now().Add(patience); ; {
		conn, err := database.Connect(ctx, s)
		if err == nil || !postgres.IsTransient(err) || time.Now().After(deadline) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}
