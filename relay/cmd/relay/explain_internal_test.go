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
