package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

type migrateCommand struct{ database }

// Run migrates the outbox part of the schema and grants the roles their privileges.
func (c *migrateCommand) Run(ctx context.Context, w io.Writer) error {
	conn, err := control.OpenConnection(ctx, c.connect, showWait)
	if err != nil {
		return fmt.Errorf("cannot connect, check DATABASE_URL: %w", postgres.Explain(err))
	}
	defer control.CloseConnection(conn)
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
		fmt.Fprintf(w, "this role lacks the privileges for the statements below: run them as a privileged role, "+
			"then run relay migrate again (you do not need them if your services connect as the table owner):\n  %s;\n",
			strings.Join(left, ";\n  "))
	}
	return nil
}
