// Package migrations creates and upgrades the table of shipments.
package migrations

import (
	"context"
	"embed"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

//go:embed *.sql
var shipments embed.FS

// VersionTable stores the version of the shipments part of the schema.
const VersionTable = "shipments_schema_version"

// Migrate migrates the shipments part of the schema to the newest version and returns the versions
// before and after. The inbox part is separate: see relay/inbox/migrations.
func Migrate(ctx context.Context, conn *pgx.Conn) (from, to int32, err error) {
	return migrations.Apply(ctx, conn, shipments, VersionTable)
}

// Grant grants the producers' role the privileges that the function createshipment needs, in the
// shipments part and in the inbox part of the schema, if the role exists. No privilege changes a
// shipment. Ids of the inbox are deleted when their events cannot arrive again.
func Grant(ctx context.Context, conn *pgx.Conn) error {
	return migrations.Grant(ctx, conn, migrations.Producer,
		"SELECT, INSERT ON shipments", "SELECT, INSERT, UPDATE, DELETE ON inbox_events")
}
