package order

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestOnlyWhatMayPassIsWorthAnotherAttempt(t *testing.T) {
	t.Parallel()
	answer := func(code string) error { return &pgconn.PgError{Code: code} }
	for _, test := range []struct {
		err         error
		unavailable bool
	}{
		{answer("08006"), true},  // connection_failure
		{answer("25006"), true},  // read_only_sql_transaction
		{answer("40P01"), true},  // deadlock_detected
		{answer("53100"), true},  // disk_full
		{answer("53300"), true},  // too_many_connections
		{answer("55P03"), true},  // lock_not_available
		{answer("57014"), true},  // query_canceled: statement_timeout
		{answer("57P01"), true},  // admin_shutdown
		{answer("22003"), false}, // numeric_value_out_of_range
		{answer("23514"), false}, // check_violation
		{answer("42P01"), false}, // undefined_table
		{answer("42501"), false}, // insufficient_privilege
		{io.ErrUnexpectedEOF, true},
		{context.DeadlineExceeded, true},
		{ErrNotFound, false},
		{ErrKeyReused, false},
	} {
		got := (*UnavailableError)(nil)
		if err := storeError("test", fmt.Errorf("wrapped: %w", test.err)); errors.As(err, &got) != test.unavailable ||
			!errors.Is(err, test.err) {
			t.Errorf("%v: unavailable = %t, want %t", test.err, !test.unavailable, test.unavailable)
		}
	}
}
