// Package migrations creates and upgrades the tables of the inbox, in the database of a consumer.
package migrations

import (
	"context"
	"embed"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

//go:embed *.sql
var inbox embed.FS

// VersionTable stores the version of the inbox part of the schema.
const VersionTable = "inbox_schema_version"

// Migrate migrates the inbox part of the schema to the newest version and returns the versions
// before and after. Concurrent calls do the work once. It is independent of the outbox part, which
// is usually in the database of another service: see relay/outbox/migrations.
func Migrate(ctx context.Context, conn *pgx.Conn) (from, to int32, err error) {
	return migrations.Apply(ctx, conn, inbox, VersionTable)
}
