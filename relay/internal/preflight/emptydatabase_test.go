package preflight_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestAnEmptyDatabaseNeedsOnlyAMigration: CREATE PUBLICATION would fail without its table.
func TestAnEmptyDatabaseNeedsOnlyAMigration(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.RowsStay = deferral.Assert
	e.exec(`DROP PUBLICATION outbox_pub; DROP TABLE ev`)
	fixes := map[preflight.Code]string{}
	for _, f := range e.check() {
		if f.Level != preflight.OK {
			fixes[f.Code] = f.Statement
		}
	}
	if len(fixes) != 2 || fixes[preflight.CodeTable] != "relay migrate" ||
		fixes[preflight.CodePublication] != "relay migrate" {
		t.Errorf("the findings and their statements are %v", fixes)
	}
}
