package main

import (
	"strings"
	"testing"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestAMissingColumnNamesBothCures: the schema may be older than the relay, and the code of the error is the same.
func TestAMissingColumnNamesBothCures(t *testing.T) {
	t.Parallel()
	err := explain(&pgconn.PgError{Code: pgerrcode.UndefinedColumn, Message: "column c.recover_until does not exist"})
	for _, cure := range []string{"relay migrate", "RELAY_COLUMN_"} {
		if !strings.Contains(err.Error(), cure) {
			t.Errorf("%v, want %s in it", err, cure)
		}
	}
}
