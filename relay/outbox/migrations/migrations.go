// Package migrations creates and upgrades the outbox tables and their publication.
package migrations

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
)

//go:embed *.sql
var outbox embed.FS

// VersionTable stores the version of the outbox part of the schema.
const VersionTable = "outbox_schema_version"

// Migrate migrates the outbox part of the schema to the newest version. See [Apply].
func Migrate(ctx context.Context, conn *pgx.Conn) (from, to int32, err error) {
	return Apply(ctx, conn, outbox, VersionTable)
}

// Apply migrates one part of the schema to the newest version in files (numbered tern migrations)
// and returns the versions before and after. Each migration runs in its own transaction under an
// advisory lock, so two concurrent calls do the work once. versionTable separates the parts of a
// schema. Apply accepts a schema that is newer than files, because a deployment that is rolled back
// meets one.
func Apply(ctx context.Context, conn *pgx.Conn, files fs.FS, versionTable string) (from, to int32, err error) {
	migrator, err := migrate.NewMigrator(ctx, conn, versionTable)
	if err != nil {
		return 0, 0, fmt.Errorf("prepare %s: %w", versionTable, err)
	}
	if err := migrator.LoadMigrations(files); err != nil {
		return 0, 0, fmt.Errorf("load migrations of %s: %w", versionTable, err)
	}
	if from, err = migrator.GetCurrentVersion(ctx); err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", versionTable, err)
	}
	if from > int32(len(migrator.Migrations)) {
		return from, from, nil
	}
	if err := migrator.Migrate(ctx); err != nil {
		return from, from, fmt.Errorf("migrate %s from version %d: %w", versionTable, from, err)
	}
	return from, int32(len(migrator.Migrations)), nil
}
