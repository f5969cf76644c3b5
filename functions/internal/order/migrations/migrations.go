// Package migrations creates and upgrades the tables of orders.
package migrations

import (
	"context"
	"embed"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

//go:embed *.sql
var orders embed.FS

// VersionTable stores the version of the orders part of the schema.
const VersionTable = "orders_schema_version"

// Migrate migrates the orders part of the schema to the newest version and returns the versions
// before and after. The outbox part is separate: see relay/outbox/migrations.
func Migrate(ctx context.Context, conn *pgx.Conn) (from, to int32, err error) {
	return migrations.Apply(ctx, conn, orders, VersionTable)
}

// Grant grants the producers' role the privileges that the functions need in the orders part of the
// schema, if the role exists: see GrantRoles in relay/outbox/migrations. No privilege changes an
// order. Keys are deleted when they expire.
func Grant(ctx context.Context, conn *pgx.Conn) error {
	return migrations.Grant(ctx, conn, migrations.Producer,
		"SELECT, INSERT ON orders, order_lines, order_idempotency_keys", "SELECT, INSERT, UPDATE, DELETE ON "+
			"order_request_keys")
}
