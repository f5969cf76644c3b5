package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/internal/postgres"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

type migrateCommand struct{ database }

// Run migrates the outbox part of the schema.
func (c *migrateCommand) Run(ctx context.Context, w io.Writer) error {
	config, err := c.connect(ctx)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("cannot connect, check DATABASE_URL: %w", postgres.Explain(err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	from, to, err := migrations.Migrate(ctx, conn)
	if err != nil {
		return explain(err)
	}
	if from == to {
		_, err = fmt.Fprintf(w, "the outbox schema is at version %d already\n", to)
		return err
	}
	_, err = fmt.Fprintf(w, "migrated the outbox schema from version %d to %d\n", from, to)
	return err
}
