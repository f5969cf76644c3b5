package main

import (
	"strings"
	"testing"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestAMissingColumnNamesBothRemedies: the schema may be older than the relay, and both cases have
// the same SQLSTATE.
func TestAMissingColumnNamesBothRemedies(t *testing.T) {
	t.Parallel()
	err := explain(&pgconn.PgError{Code: pgerrcode.UndefinedColumn, Message: "column c.recover_until does not exist"})
	for _, remedy := range []string{"relay migrate", "RELAY_COLUMN_"} {
		if !strings.Contains(err.Error(), remedy) {
			t.Errorf("%v, want %s in it", err, remedy)
		}
	}
}

func TestAFailedConnectNamesTheSetting(t *testing.T) {
	t.Parallel()
	_, err := pgconn.Connect(t.Context(), "postgres://relay@127.0.0.1:1/orders")
	const want = "database: cannot connect, check DATABASE_URL"
	if err = explain(err); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v", err)
	}
}
