package chaos

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// migrate creates the schema as its owner and grants the relays' roles only the privileges that
// they need.
func (r *run) migrate(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, r.cluster.url(r.database, writerRole))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, _, err := migrations.Migrate(ctx, conn); err != nil {
		return err
	}
	statements := []string{r.shape.create}
	if r.plan.Load.Partitioned {
		statements = append(statements, partitioned)
	}
	statements = append(statements,
		grantOutbox(),
		`ALTER PUBLICATION outbox_pub SET TABLE `+r.shape.published(),
		`CREATE TABLE aggregates (key text PRIMARY KEY)`,
		`CREATE TABLE other (n integer, t text)`,
		r.shape.recordCommitted(),
		recordChanges,
	)
	for _, table := range r.shape.each() {
		statements = append(statements, fmt.Sprintf(recordInserts, table))
	}
	if r.shape.replays() {
		statements = append(statements, r.shape.recordSelected())
	}
	for i := range maxRelays {
		role := fmt.Sprintf(relayRole, i)
		statements = append(statements, `GRANT DELETE ON outbox_dead_letters, relay_members, outbox_deferrals,
				relay_instances TO `+role,
			`GRANT SELECT, INSERT, UPDATE ON relay_checkpoints, outbox_dead_letters, outbox_replays, relay_members,
				outbox_deferrals, relay_instances TO `+role,
			`GRANT SELECT, UPDATE ON outbox_pauses TO `+role)
	}
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, r.shape.sql(statement)); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// grantOutbox grants the relays' roles the privileges that they need on the outbox table.
func grantOutbox() string {
	var roles []string
	for i := range maxRelays {
		roles = append(roles, fmt.Sprintf(relayRole, i))
	}
	return `GRANT SELECT, DELETE ON {tables} TO ` + strings.Join(roles, ", ")
}
