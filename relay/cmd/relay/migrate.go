package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

type migrateCommand struct{ database }

// Run migrates the outbox part of the schema and grants to its roles what they need of it.
func (c *migrateCommand) Run(ctx context.Context, w io.Writer) error {
	conn, err := relay.OpenConnection(ctx, c.connect)
	if err != nil {
		return fmt.Errorf("cannot connect, check DATABASE_URL: %w", postgres.Explain(err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	from, to, err := migrations.Migrate(ctx, conn)
	if err != nil {
		return explain(err)
	}
	if from == to {
		fmt.Fprintf(w, "the outbox schema is at version %d already\n", to)
	} else {
		fmt.Fprintf(w, "migrated the outbox schema from version %d to %d\n", from, to)
	}
	left, err := migrations.GrantRoles(ctx, conn)
	if err != nil {
		return explain(err)
	}
	if len(left) > 0 {
		fmt.Fprintf(w, "left to somebody who may, and then migrate again (who connects as the owner of the tables needs none of it):\n  %s;\n",
			strings.Join(left, ";\n  "))
	}
	return nil
}
