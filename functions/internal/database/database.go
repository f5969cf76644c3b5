// Package database connects the functions to Postgres.
package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// Open returns a pool that connects on first use, so that a function can start while the database
// is unavailable.
func Open(ctx context.Context, s settings.Settings) (*pgxpool.Pool, error) {
	config := s.Database.Copy()
	config.BeforeConnect = s.Postgres.Authenticate
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("make the connection pool: %w", err)
	}
	return pool, nil
}

// Connect returns one connection without a statement timeout, for migrations.
func Connect(ctx context.Context, s settings.Settings) (*pgx.Conn, error) {
	config := s.Database.ConnConfig.Copy()
	config.RuntimeParams["statement_timeout"] = "0"
	if err := s.Postgres.Authenticate(ctx, config); err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", postgres.Explain(err))
	}
	return conn, nil
}
