package outbox_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// TestGORMInsertsInItsTransactionOnly: with prepared statements, gorm wraps pool and transaction in
// types of its own.
func TestGORMInsertsInItsTransactionOnly(t *testing.T) {
	t.Parallel()
	event := outbox.Event{Type: "t", Payload: json.RawMessage(`{}`)}
	changedMind := errors.New("changed my mind")
	for name, prepared := range map[string]bool{"plain": false, "prepared": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := migratedSQL(t, pgx.QueryExecModeCacheStatement)
			db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}),
				&gorm.Config{Logger: logger.Discard, PrepareStmt: prepared})
			if err != nil {
				t.Fatal(err)
			}
			err = outbox.InsertSQL(t.Context(), db.Statement.ConnPool, event)
			if err == nil || !strings.Contains(err.Error(), "is no transaction") {
				t.Errorf("outside of a transaction: %v", err)
			}
			for _, end := range []error{changedMind, nil} {
				err = db.Transaction(func(tx *gorm.DB) error {
					return errors.Join(outbox.InsertSQL(t.Context(), tx.Statement.ConnPool, event), end)
				})
				if !errors.Is(err, end) {
					t.Errorf("transaction that ends with %v: %v", end, err)
				}
			}
			if got := storedEvents(t, pool); len(got) != 1 {
				t.Errorf("stored %q, want the committed event", got)
			}
		})
	}
}
