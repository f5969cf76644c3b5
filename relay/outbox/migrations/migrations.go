// Package migrations creates and upgrades the outbox tables and their publication.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgerrcode"
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
// advisory lock, so two concurrent calls do the work once. It waits for locks in short turns, so
// that programs which use the tables proceed meanwhile. versionTable separates the parts of a
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
	if from >= int32(len(migrator.Migrations)) {
		return from, from, nil
	}
	migrateAll := func() error {
		if err := identifyRows(ctx, conn, versionTable); err != nil {
			return err
		}
		return migrator.Migrate(ctx)
	}
	if err := retryLocked(ctx, conn, migrateAll); err != nil {
		return from, from, fmt.Errorf("migrate %s from version %d: %w", versionTable, from, err)
	}
	return from, int32(len(migrator.Migrations)), nil
}

const (
	// lockTimeout bounds how long a migration waits for the lock of a table. Every later statement
	// on the table waits behind it, and a relay that cannot write its checkpoint stops publishing.
	lockTimeout = time.Second
	// lockPause lets those statements proceed.
	lockPause = time.Second
	// lockPatience bounds all attempts. A dump of a large database takes longer.
	lockPatience = 2 * time.Minute
)

// identifyRows gives the version table, which has no primary key, a replica identity. Postgres
// refuses to update a table without one that a publication of all tables has.
func identifyRows(ctx context.Context, conn *pgx.Conn, versionTable string) error {
	var identified bool
	err := conn.QueryRow(ctx, `SELECT relreplident = 'f' FROM pg_class WHERE oid = to_regclass($1)`, versionTable).
		Scan(&identified)
	if err != nil || identified {
		return err
	}
	_, err = conn.Exec(ctx, `ALTER TABLE `+versionTable+` REPLICA IDENTITY FULL`)
	return err
}

// retryLocked calls migrateAll, and calls it again while another transaction holds a table.
func retryLocked(ctx context.Context, conn *pgx.Conn, migrateAll func() error) error {
	if _, err := conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = %d", lockTimeout.Milliseconds())); err != nil {
		return fmt.Errorf("set lock_timeout: %w", err)
	}
	defer conn.Exec(context.WithoutCancel(ctx), "RESET lock_timeout") //nolint:errcheck // the connection is lost then
	for begin := time.Now(); ; {
		err := migrateAll()
		switch {
		case !isLockTimeout(err):
			return err
		case time.Since(begin) > lockPatience:
			return fmt.Errorf("other transactions have held a table for %v: end those that "+
				"pg_stat_activity shows as old, or wait for them, and migrate again: %w", lockPatience, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

func isLockTimeout(err error) bool {
	var refused interface{ SQLState() string }
	return errors.As(err, &refused) && refused.SQLState() == pgerrcode.LockNotAvailable
}
