package pgtest

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
)

// NewPreparedDatabase is [NewDatabase] with the objects that prepare creates as [Role]. It prepares
// the first database of a cluster. Later ones are copies of it, so each call of a test process has
// the same prepare. A version other than zero is that of [NewDatabaseOf].
func NewPreparedDatabase(t testing.TB, version int, prepare func(context.Context, *pgx.Conn) error) string {
	t.Helper()
	c := ofVersion(version)
	c.prepare.Do(func() { c.prepared, c.failed = c.prepareDatabase(prepare) })
	if c.failed != nil {
		t.Fatalf("pgtest: prepare a database: %v", c.failed)
	}
	return c.newDatabase(t, c.prepared)
}

// prepareDatabase returns the name of a new database with the objects that prepare creates.
func (c *cluster) prepareDatabase(prepare func(context.Context, *pgx.Conn) error) (name string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	if name, err = c.create(emptyDatabase); err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, c.urlOf(name))
	if err != nil {
		return name, err
	}
	return name, errors.Join(prepare(ctx, conn), conn.Close(ctx))
}
